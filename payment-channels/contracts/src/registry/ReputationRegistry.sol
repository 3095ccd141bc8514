// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IIdentityRegistry} from "../interfaces/IIdentityRegistry.sol";
import {IReputationRegistry} from "../interfaces/IReputationRegistry.sol";

/// @title An ERC-8004 reputation registry for development chains
/// @notice See `IReputationRegistry` for the rules and the invariants G1 to G5.
/// @dev Made to be genesis code: no constructor, no immutables, all storage starts at zero.
contract ReputationRegistry is IReputationRegistry {
    struct Feedback {
        int128 value;
        uint8 decimals;
        bool isRevoked;
        string tag1;
        string tag2;
    }

    /// Which feedback is asked for; an empty tag stands for all.
    struct Filter {
        uint256 agentId;
        string tag1;
        string tag2;
        bool includeRevoked;
    }

    /// `readAllFeedback`'s answer.
    struct Rows {
        address[] clients;
        uint64[] indexes;
        int128[] values;
        uint8[] decimals;
        string[] tag1s;
        string[] tag2s;
        bool[] revoked;
    }

    /// The identity registry beside which this one stands, on test networks and development chains.
    address private constant IDENTITY_REGISTRY = 0x8004A818BFB912233c491871b3d84c89A494BD9e;
    int128 private constant VALUE_MAX = 1e38;
    uint8 private constant DECIMALS_MAX = 18;

    mapping(uint256 agentId => mapping(address client => Feedback[])) private _feedback;
    mapping(uint256 agentId => address[]) private _clients;

    // ---------------------------------------------------------------- clients

    /// @inheritdoc IReputationRegistry
    function giveFeedback(
        uint256 agentId,
        int128 value,
        uint8 valueDecimals,
        string memory tag1,
        string memory tag2,
        string memory endpoint,
        string memory feedbackURI,
        bytes32 feedbackHash
    ) external {
        require(valueDecimals <= DECIMALS_MAX, "too many decimals");
        require(value >= -VALUE_MAX && value <= VALUE_MAX, "value too large");
        // Reverts if there is no such agent.
        bool isOwnSide = IIdentityRegistry(IDENTITY_REGISTRY).isAuthorizedOrOwner(msg.sender, agentId);
        require(!isOwnSide, "Self-feedback not allowed");
        uint64 index = _keep(agentId, Feedback(value, valueDecimals, false, tag1, tag2));
        emit NewFeedback(
            agentId, msg.sender, index, value, valueDecimals, tag1, tag1, tag2, endpoint, feedbackURI, feedbackHash
        );
    }

    /// @inheritdoc IReputationRegistry
    function revokeFeedback(uint256 agentId, uint64 feedbackIndex) external {
        Feedback storage feedback = _at(agentId, msg.sender, feedbackIndex);
        require(!feedback.isRevoked, "Already revoked");
        feedback.isRevoked = true;
        emit FeedbackRevoked(agentId, msg.sender, feedbackIndex);
    }

    /// @inheritdoc IReputationRegistry
    function appendResponse(
        uint256 agentId,
        address clientAddress,
        uint64 feedbackIndex,
        string calldata responseURI,
        bytes32 responseHash
    ) external {
        require(bytes(responseURI).length > 0, "Empty URI");
        _at(agentId, clientAddress, feedbackIndex);
        emit ResponseAppended(agentId, clientAddress, feedbackIndex, msg.sender, responseURI, responseHash);
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc IReputationRegistry
    function getIdentityRegistry() external pure returns (address) {
        return IDENTITY_REGISTRY;
    }

    /// @inheritdoc IReputationRegistry
    function getLastIndex(uint256 agentId, address clientAddress) external view returns (uint64) {
        return uint64(_feedback[agentId][clientAddress].length);
    }

    /// @inheritdoc IReputationRegistry
    function readFeedback(uint256 agentId, address clientAddress, uint64 feedbackIndex)
        external
        view
        returns (int128 value, uint8 valueDecimals, string memory tag1, string memory tag2, bool isRevoked)
    {
        Feedback storage found = _at(agentId, clientAddress, feedbackIndex);
        return (found.value, found.decimals, found.tag1, found.tag2, found.isRevoked);
    }

    /// @inheritdoc IReputationRegistry
    function getSummary(uint256 agentId, address[] calldata clientAddresses, string calldata tag1, string calldata tag2)
        external
        view
        returns (uint64 count, int128 summaryValue, uint8 summaryValueDecimals)
    {
        require(clientAddresses.length > 0, "clientAddresses required");
        return _mean(_find(Filter(agentId, tag1, tag2, false), clientAddresses));
    }

    /// @inheritdoc IReputationRegistry
    function readAllFeedback(
        uint256 agentId,
        address[] memory clientAddresses,
        string memory tag1,
        string memory tag2,
        bool includeRevoked
    )
        external
        view
        returns (
            address[] memory clients,
            uint64[] memory feedbackIndexes,
            int128[] memory values,
            uint8[] memory valueDecimals,
            string[] memory tag1s,
            string[] memory tag2s,
            bool[] memory revokedStatuses
        )
    {
        if (clientAddresses.length == 0) clientAddresses = _clients[agentId];
        Rows memory rows = _find(Filter(agentId, tag1, tag2, includeRevoked), clientAddresses);
        return (rows.clients, rows.indexes, rows.values, rows.decimals, rows.tag1s, rows.tag2s, rows.revoked);
    }

    /// @inheritdoc IReputationRegistry
    function getClients(uint256 agentId) external view returns (address[] memory) {
        return _clients[agentId];
    }

    // ---------------------------------------------------------------- inside

    /// @dev Upholds G3 and G4. Nobody gives 2^64 times.
    function _keep(uint256 agentId, Feedback memory feedback) private returns (uint64 index) {
        Feedback[] storage given = _feedback[agentId][msg.sender];
        if (given.length == 0) _clients[agentId].push(msg.sender);
        given.push(feedback);
        return uint64(given.length);
    }

    function _at(uint256 agentId, address client, uint64 index) private view returns (Feedback storage) {
        require(index > 0, "index must be > 0");
        Feedback[] storage given = _feedback[agentId][client];
        require(index <= given.length, "index out of bounds");
        return given[index - 1];
    }

    /// @dev Room for all that the clients gave, then as much of it as the filter lets through.
    function _find(Filter memory filter, address[] memory clients) private view returns (Rows memory rows) {
        uint256 room = 0;
        for (uint256 i = 0; i < clients.length; ++i) {
            room += _feedback[filter.agentId][clients[i]].length;
        }
        rows = Rows(
            new address[](room),
            new uint64[](room),
            new int128[](room),
            new uint8[](room),
            new string[](room),
            new string[](room),
            new bool[](room)
        );
        uint256 count = 0;
        for (uint256 i = 0; i < clients.length; ++i) {
            Feedback[] storage given = _feedback[filter.agentId][clients[i]];
            for (uint256 j = 0; j < given.length; ++j) {
                if (!_passes(filter, given[j])) continue;
                _put(rows, count++, clients[i], uint64(j + 1), given[j]);
            }
        }
        _shorten(rows, count);
    }

    function _passes(Filter memory filter, Feedback storage feedback) private view returns (bool) {
        return (filter.includeRevoked || !feedback.isRevoked) && _isTag(filter.tag1, feedback.tag1)
            && _isTag(filter.tag2, feedback.tag2);
    }

    function _isTag(string memory asked, string memory tag) private pure returns (bool) {
        return bytes(asked).length == 0 || keccak256(bytes(asked)) == keccak256(bytes(tag));
    }

    function _put(Rows memory rows, uint256 row, address client, uint64 index, Feedback storage feedback)
        private
        view
    {
        rows.clients[row] = client;
        rows.indexes[row] = index;
        rows.values[row] = feedback.value;
        rows.decimals[row] = feedback.decimals;
        rows.tag1s[row] = feedback.tag1;
        rows.tag2s[row] = feedback.tag2;
        rows.revoked[row] = feedback.isRevoked;
    }

    /// @dev An array in memory begins with its length, which may be lowered.
    function _shorten(Rows memory rows, uint256 count) private pure {
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, 7) { i := add(i, 1) } { mstore(mload(add(rows, mul(i, 0x20))), count) }
        }
    }

    /// @dev Sums with eighteen decimals, which no sum of values in their bounds overflows; rounds towards zero.
    function _mean(Rows memory rows) private pure returns (uint64, int128, uint8) {
        uint256 count = rows.values.length;
        if (count == 0) return (0, 0, 0);
        uint256[] memory having = new uint256[](DECIMALS_MAX + 1);
        int256 sum = 0;
        for (uint256 i = 0; i < count; ++i) {
            sum += int256(rows.values[i]) * _tenTo(DECIMALS_MAX - rows.decimals[i]);
            having[rows.decimals[i]] += 1;
        }
        uint8 most = 0;
        for (uint8 d = 1; d <= DECIMALS_MAX; ++d) {
            if (having[d] > having[most]) most = d;
        }
        sum /= int256(count);
        int256 mean = sum / _tenTo(DECIMALS_MAX - most);
        // Large values with few decimals among small ones with many: without decimals every mean fits.
        while (mean != int128(mean)) {
            mean = sum / _tenTo(DECIMALS_MAX - --most);
        }
        return (uint64(count), int128(mean), most);
    }

    function _tenTo(uint8 exponent) private pure returns (int256) {
        return int256(10 ** uint256(exponent));
    }
}
