// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IPermit2} from "./interfaces/IPermit2.sol";
import {Digests} from "./lib/Digests.sol";
import {Signatures} from "./lib/Signatures.sol";
import {TokenMoves} from "./lib/TokenMoves.sol";

/// @title Permit2 for development chains
/// @notice Stands where clients expect Permit2 and answers as it does, in the part that deposits use. Never
/// deploy it to a public chain. Stricter in one point: signatures have 65 bytes and a low `s`.
/// @dev Made to be genesis code: no constructor, no immutables. Invariants: P1 a nonce is used at most
/// once. P2 only its signer's tokens move, to where the signed spender says, at most as many as permitted.
contract DevPermit2 is IPermit2 {
    bytes32 private constant DOMAIN = keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
    bytes32 private constant TOKEN_PERMISSIONS = keccak256("TokenPermissions(address token,uint256 amount)");
    string private constant PERMIT_HEAD =
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,";

    /// @inheritdoc IPermit2
    mapping(address owner => mapping(uint256 word => uint256 bits)) public nonceBitmap;

    /// @inheritdoc IPermit2
    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("Permit2"), block.chainid, address(this)));
    }

    /// @inheritdoc IPermit2
    function invalidateUnorderedNonces(uint256 wordPos, uint256 mask) external {
        nonceBitmap[msg.sender][wordPos] |= mask;
        emit UnorderedNonceInvalidation(msg.sender, wordPos, mask);
    }

    /// @inheritdoc IPermit2
    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external {
        if (block.timestamp > permit.deadline) revert SignatureExpired(permit.deadline);
        if (transferDetails.requestedAmount > permit.permitted.amount) revert InvalidAmount(permit.permitted.amount);
        _useNonce(owner, permit.nonce);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(abi.encodePacked(PERMIT_HEAD, witnessTypeString)),
                keccak256(abi.encode(TOKEN_PERMISSIONS, permit.permitted)),
                msg.sender,
                permit.nonce,
                permit.deadline,
                witness
            )
        );
        _checkSigner(owner, Digests.digest(DOMAIN_SEPARATOR(), structHash), signature);
        TokenMoves.take(permit.permitted.token, owner, transferDetails.to, transferDetails.requestedAmount);
    }

    function _useNonce(address owner, uint256 nonce) private {
        uint256 bit = 1 << (nonce & 0xff);
        uint256 bits = nonceBitmap[owner][nonce >> 8];
        if (bits & bit != 0) revert InvalidNonce();
        nonceBitmap[owner][nonce >> 8] = bits | bit;
    }

    function _checkSigner(address owner, bytes32 digest, bytes calldata signature) private view {
        bool isContract = owner.code.length != 0;
        if (!isContract && signature.length != 65) revert InvalidSignatureLength();
        if (Signatures.isValid(owner, digest, signature)) return;
        if (isContract) revert InvalidContractSignature();
        revert InvalidSigner();
    }
}
