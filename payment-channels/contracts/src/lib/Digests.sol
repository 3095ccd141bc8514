// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {ChannelConfig, ChannelId, VoucherClaim} from "../Types.sol";

/// @title EIP-712 hashing for the settlement contract
/// @notice Everything is computed at the time of the call: code put into a chain's genesis has no
/// constructor to store a domain separator, and the chain id may change by a fork.
library Digests {
    string internal constant NAME = "x402 Batch Settlement";
    string internal constant VERSION = "1";

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

    /// @notice The digest that is signed: `keccak256(0x1901 || separator || structHash)`.
    function digest(bytes32 domainSeparator, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainSeparator, structHash));
    }

    function channelId(ChannelConfig calldata config) internal view returns (ChannelId) {
        // A struct of static fields encodes to its fields in order, as EIP-712 wants them.
        return ChannelId.wrap(_ours(keccak256(abi.encode(CHANNEL_CONFIG, config))));
    }

    function voucher(ChannelId id, uint128 ceiling) internal view returns (bytes32) {
        return _ours(keccak256(abi.encode(VOUCHER, id, ceiling)));
    }

    function refund(ChannelId id, uint256 nonce, uint128 amount) internal view returns (bytes32) {
        return _ours(keccak256(abi.encode(REFUND, id, nonce, amount)));
    }

    function claimBatch(VoucherClaim[] calldata rows) internal view returns (bytes32) {
        bytes32[] memory entries = new bytes32[](rows.length);
        for (uint256 i = 0; i < rows.length; ++i) {
            VoucherClaim calldata row = rows[i];
            entries[i] = keccak256(
                abi.encode(
                    CLAIM_ENTRY, channelId(row.voucher.channel), row.voucher.maxClaimableAmount, row.totalClaimed
                )
            );
        }
        return _ours(keccak256(abi.encode(CLAIM_BATCH, keccak256(abi.encodePacked(entries)))));
    }

    function _ours(bytes32 structHash) private view returns (bytes32) {
        return digest(separator(NAME, VERSION), structHash);
    }
}
