// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {ChannelConfig, ChannelId, VoucherClaim} from "../Types.sol";

/// @title EIP-712 hashing for the settlement contract
/// @notice Everything is computed at the time of the call: code put into a chain's genesis has no
/// constructor to store a domain separator, and the chain id may change by a fork.
library Digests {
    string internal constant NAME = "x402 Batch Settlement";
    string internal constant VERSION = "1";
    bytes32 private constant NAME_HASH = keccak256("x402 Batch Settlement");
    bytes32 private constant VERSION_HASH = keccak256("1");

    bytes32 internal constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant CHANNEL_CONFIG = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,"
        "address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 internal constant VOUCHER = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 internal constant REFUND = keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    bytes32 internal constant CLAIM_ENTRY =
        keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");
    bytes32 internal constant CLAIM_BATCH = keccak256(
        "ClaimBatch(ClaimEntry[] claims)"
        "ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"
    );

    /// @notice The separator of a domain with the four usual fields, for the running contract.
    function separator(string memory name, string memory version) internal view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN, keccak256(bytes(name)), keccak256(bytes(version)), block.chainid, address(this))
        );
    }

    /// @notice The settlement contract's own separator. Computed once in a call, whatever it hashes.
    function settlement() internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// @notice The digest that is signed: `keccak256(0x1901 || separator || structHash)`.
    function digest(bytes32 domainSeparator, bytes32 structHash) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            // Beyond the free pointer, which stays where it is.
            let text := mload(0x40)
            mstore(text, hex"1901")
            mstore(add(text, 2), domainSeparator)
            mstore(add(text, 34), structHash)
            hash := keccak256(text, 66)
        }
    }

    function channelId(bytes32 domainSeparator, ChannelConfig calldata config) internal pure returns (ChannelId) {
        // A struct of static fields encodes to its fields in order, as EIP-712 wants them.
        return ChannelId.wrap(digest(domainSeparator, keccak256(abi.encode(CHANNEL_CONFIG, config))));
    }

    function voucher(bytes32 domainSeparator, ChannelId id, uint128 ceiling) internal pure returns (bytes32) {
        bytes32 typeHash = VOUCHER;
        bytes32 structHash;
        assembly ("memory-safe") {
            let text := mload(0x40)
            mstore(text, typeHash)
            mstore(add(text, 0x20), id)
            mstore(add(text, 0x40), ceiling)
            structHash := keccak256(text, 0x60)
        }
        return digest(domainSeparator, structHash);
    }

    function refund(bytes32 domainSeparator, ChannelId id, uint256 nonce, uint128 amount)
        internal
        pure
        returns (bytes32)
    {
        return digest(domainSeparator, keccak256(abi.encode(REFUND, id, nonce, amount)));
    }

    function claimBatch(bytes32 domainSeparator, VoucherClaim[] calldata rows) internal pure returns (bytes32) {
        bytes32[] memory entries = new bytes32[](rows.length);
        for (uint256 i = 0; i < rows.length; ++i) {
            VoucherClaim calldata row = rows[i];
            entries[i] = keccak256(
                abi.encode(
                    CLAIM_ENTRY,
                    channelId(domainSeparator, row.voucher.channel),
                    row.voucher.maxClaimableAmount,
                    row.totalClaimed
                )
            );
        }
        return digest(domainSeparator, keccak256(abi.encode(CLAIM_BATCH, keccak256(abi.encodePacked(entries)))));
    }
}
