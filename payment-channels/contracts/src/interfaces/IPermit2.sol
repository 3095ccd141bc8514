// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title Permit2: one allowance, then transfers by signature
/// @notice The part that deposits use. Nonces are unordered: each is one bit of a bitmap of its owner.
/// @dev Names, selectors and digests equal those of the contract that stands at
/// 0x000000000022D473030F116dDEE9F6B43aC78BA3 on public chains.
interface IPermit2 {
    /// @notice A token and the most of it that may move.
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    /// @notice What an owner signs, but for the spender and the witness.
    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        /// Good up to and including this block time, in seconds.
        uint256 deadline;
    }

    /// @notice Where the tokens go, which the spender decides.
    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    /// @notice The owner used up the nonces of `mask` in word `word` of its bitmap.
    event UnorderedNonceInvalidation(address indexed owner, uint256 word, uint256 mask);

    /// @notice The permit's deadline has passed.
    error SignatureExpired(uint256 signatureDeadline);
    /// @notice More was asked for than the owner permitted.
    error InvalidAmount(uint256 maxAmount);
    /// @notice The nonce was used before.
    error InvalidNonce();
    /// @notice The signature of a plain account does not have 65 bytes.
    error InvalidSignatureLength();
    /// @notice The signature is another key's, or no key's.
    error InvalidSigner();
    /// @notice The owner is a contract that does not stand by the signature.
    error InvalidContractSignature();

    function DOMAIN_SEPARATOR() external view returns (bytes32);

    /// @notice 256 nonces of `owner`: a bit that is set is a nonce that was used. A nonce's upper 248 bits
    /// name the word and its lower 8 bits the bit.
    function nonceBitmap(address owner, uint256 word) external view returns (uint256);

    /// @notice Uses up nonces of the caller.
    function invalidateUnorderedNonces(uint256 wordPos, uint256 mask) external;

    /// @notice Moves `owner`'s tokens by its signature over the permit, the caller (as spender) and the
    /// caller's witness.
    /// @param witness The EIP-712 hash of a struct of the caller's own.
    /// @param witnessTypeString From the witness member on: `Type witness)Type(..)TokenPermissions(..)`,
    /// the referenced types in alphabetical order.
    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}
