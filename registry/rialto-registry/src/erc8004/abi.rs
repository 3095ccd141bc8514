//! What `sol!` makes of the registries' interfaces: the functions that Rialto calls, and the events and
//! errors that it reads.
//!
//! Not here: whole interfaces, which `payment-channels/contracts/src/interfaces` has with their rules.

alloy_sol_types::sol! {
    /// Agents: ERC-721 tokens with a URI, metadata and a wallet.
    #[derive(Debug, PartialEq, Eq)]
    interface IIdentityRegistry {
        /// One value that an agent begins with.
        struct MetadataEntry {
            string metadataKey;
            bytes metadataValue;
        }

        event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
        event Registered(uint256 indexed agentId, string agentURI, address indexed owner);
        event URIUpdated(uint256 indexed agentId, string newURI, address indexed updatedBy);
        event MetadataSet(uint256 indexed agentId, string indexed indexedMetadataKey, string metadataKey, bytes metadataValue);

        error ERC721InvalidOwner(address owner);
        error ERC721NonexistentToken(uint256 tokenId);
        error ERC721IncorrectOwner(address sender, uint256 tokenId, address owner);
        error ERC721InvalidReceiver(address receiver);
        error ERC721InsufficientApproval(address operator, uint256 tokenId);
        error ERC721InvalidApprover(address approver);
        error ERC721InvalidOperator(address operator);

        function register(string calldata agentURI, MetadataEntry[] calldata metadata) external returns (uint256 agentId);
        function setAgentURI(uint256 agentId, string calldata newURI) external;
        function setMetadata(uint256 agentId, string calldata key, bytes calldata value) external;
        function setAgentWallet(uint256 agentId, address newWallet, uint256 deadline, bytes calldata signature) external;
        function unsetAgentWallet(uint256 agentId) external;
        function safeTransferFrom(address from, address to, uint256 tokenId) external;

        function ownerOf(uint256 tokenId) external view returns (address);
        function tokenURI(uint256 tokenId) external view returns (string memory);
        function getMetadata(uint256 agentId, string calldata key) external view returns (bytes memory);
        function getAgentWallet(uint256 agentId) external view returns (address);
    }

    /// What clients say of agents.
    #[derive(Debug, PartialEq, Eq)]
    interface IReputationRegistry {
        event NewFeedback(uint256 indexed agentId, address indexed clientAddress, uint64 feedbackIndex, int128 value, uint8 valueDecimals, string indexed indexedTag1, string tag1, string tag2, string endpoint, string feedbackURI, bytes32 feedbackHash);
        event FeedbackRevoked(uint256 indexed agentId, address indexed clientAddress, uint64 indexed feedbackIndex);

        function giveFeedback(uint256 agentId, int128 value, uint8 valueDecimals, string calldata tag1, string calldata tag2, string calldata endpoint, string calldata feedbackURI, bytes32 feedbackHash) external;
        function revokeFeedback(uint256 agentId, uint64 feedbackIndex) external;

        function getIdentityRegistry() external view returns (address);
        function getLastIndex(uint256 agentId, address clientAddress) external view returns (uint64);
        function readFeedback(uint256 agentId, address clientAddress, uint64 feedbackIndex) external view returns (int128 value, uint8 valueDecimals, string memory tag1, string memory tag2, bool isRevoked);
    }
}

alloy_sol_types::sol! {
    /// What a wallet signs to be an agent's.
    #[derive(Debug, PartialEq, Eq)]
    struct AgentWalletSet {
        uint256 agentId;
        address newWallet;
        address owner;
        uint256 deadline;
    }
}
