//! What `sol!` makes of the contracts' interfaces: the functions that this crate calls, and every
//! event and error that it may meet.
//!
//! Non-goals: whole interfaces, which `contracts/src/interfaces` has with their rules.

alloy::sol! {
    /// Payment channels of the x402 `batch-settlement` scheme.
    #[derive(Debug, PartialEq, Eq)]
    interface IBatchSettlement {
        /// The terms of a channel.
        struct ChannelConfig {
            address payer;
            address payerAuthorizer;
            address receiver;
            address receiverAuthorizer;
            address token;
            uint40 withdrawDelay;
            bytes32 salt;
        }
        /// The payer's cumulative ceiling for one channel.
        struct Voucher {
            ChannelConfig channel;
            uint128 maxClaimableAmount;
        }
        /// One row of a claim.
        struct VoucherClaim {
            Voucher voucher;
            bytes signature;
            uint128 totalClaimed;
        }

        event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
        event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
        event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
        event Claimed(bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed);
        event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
        event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
        event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter);
        event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount);

        error InvalidChannel();
        error ZeroDeposit();
        error DepositOverflow();
        error InvalidSignature();
        error NotReceiverAuthorizer();
        error NotAuthorizedToClaim();
        error NotAuthorizedToRefund();
        error ClaimExceedsCeiling();
        error ClaimExceedsBalance();
        error WithdrawalAlreadyPending();
        error WithdrawalNotPending();
        error NotAuthorizedToFinalizeWithdraw();
        error WithdrawDelayNotElapsed();
        error NothingToWithdraw();
        error WithdrawAmountExceedsAvailable();
        error WithdrawDelayOutOfRange();
        error EmptyBatch();
        error DepositCollectionFailed();
        error InvalidCollector();
        error InvalidRefundNonce();
        error ZeroRefund();
        error FailedCall();
        error ECDSAInvalidSignature();
        error ECDSAInvalidSignatureLength(uint256 length);
        error ECDSAInvalidSignatureS(bytes32 s);
        error ReentrancyGuardReentrantCall();
        error SafeERC20FailedOperation(address token);

        function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData) external;
        function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external;
        function finalizeWithdraw(ChannelConfig calldata config) external;
        function claim(VoucherClaim[] calldata voucherClaims) external;
        function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature) external;
        function settle(address receiver, address token) external;
        function refund(ChannelConfig calldata config, uint128 amount) external;
        function refundWithSignature(ChannelConfig calldata config, uint128 amount, uint256 nonce, bytes calldata receiverAuthorizerSignature) external;
        function multicall(bytes[] calldata data) external returns (bytes[] memory results);

        function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);
        function pendingWithdrawals(bytes32 channelId) external view returns (uint128 amount, uint40 initiatedAt);
        function refundNonce(bytes32 channelId) external view returns (uint256);
        function receivers(address receiver, address token) external view returns (uint128 totalClaimed, uint128 totalSettled);
        function getChannelId(ChannelConfig calldata config) external view returns (bytes32);
    }

    /// A token with signed transfers (EIP-3009).
    #[derive(Debug, PartialEq, Eq)]
    interface IErc3009 {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

        error AuthorizationNotYetValid(uint256 validAfter);
        error AuthorizationExpired(uint256 validBefore);
        error AuthorizationUsedOrCanceled(address authorizer, bytes32 nonce);
        error CallerMustBePayee(address caller, address payee);
        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        error ERC20InvalidReceiver(address receiver);
        error ERC20InvalidSpender(address spender);

        function balanceOf(address account) external view returns (uint256);
        function transfer(address to, uint256 value) external returns (bool);
        function approve(address spender, uint256 value) external returns (bool);
        function allowance(address owner, address spender) external view returns (uint256);
        function nonces(address owner) external view returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes calldata signature) external;
    }

    /// Pulls deposits by EIP-3009.
    #[derive(Debug, PartialEq, Eq)]
    interface IErc3009DepositCollector {
        error OnlyX402BatchSettlement();

        function x402BatchSettlement() external view returns (address);
    }

    /// Pulls deposits by Permit2.
    #[derive(Debug, PartialEq, Eq)]
    interface IPermit2DepositCollector {
        error OnlyX402BatchSettlement();

        function x402BatchSettlement() external view returns (address);
        function PERMIT2() external view returns (address);
    }

    /// One allowance, then transfers by signature: what deposits need of it.
    #[derive(Debug, PartialEq, Eq)]
    interface IPermit2 {
        error SignatureExpired(uint256 signatureDeadline);
        error InvalidAmount(uint256 maxAmount);
        error InvalidNonce();
        error InvalidSignatureLength();
        error InvalidSigner();
        error InvalidContractSignature();

        function nonceBitmap(address owner, uint256 word) external view returns (uint256);
    }

    /// Splits what it receives between a publisher and a provider.
    #[derive(Debug, PartialEq, Eq)]
    interface IRoyaltySplitter {
        event Released(address indexed token, uint256 toPublisher, uint256 toProvider);

        error NothingReleased();
        error TooMuch();

        function release(address token) external returns (uint256 toPublisher, uint256 toProvider);
        function due(address token) external view returns (uint256 toPublisher, uint256 toProvider);
    }

    /// Puts splitters at their computed addresses.
    #[derive(Debug, PartialEq, Eq)]
    interface IRoyaltySplitterFactory {
        event SplitterDeployed(address indexed splitter, address indexed publisher, address indexed provider, uint16 publisherBps);

        error InvalidShares();

        function deploy(address publisher, address provider, uint16 publisherBps) external returns (address splitter);
        function addressOf(address publisher, address provider, uint16 publisherBps) external view returns (address);
        function INIT_CODE_HASH() external view returns (bytes32);
    }
}
