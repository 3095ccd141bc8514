//! The chain itself: blocks on top of each other, made one step at a time.
//!
//! A step is a block, a development override or a change of the clock. Each is first run, then
//! written to the log, then adopted; a step that the log refuses is taken back. Replaying the log
//! repeats the same steps and must give the same block hashes.
//! Non-goals: forks (there is one chain) and a pool (each transaction is mined as it arrives).

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::B256;
use revm::bytecode::Bytecode;
use revm::context::result::ExecutionResult;

use super::block::{Block, Draft, Mined};
use super::clock::Clock;
use super::evm::{self, Call, Surroundings};
use super::log::Log;
use super::record::{Override, Record, SenderAndTransaction};
use super::state::{ChangeSet, Overlay, State, Undo, View};
use super::step::{Step, StepError, StepKind};

/// All blocks, the latest state, and the way back.
#[derive(Debug)]
pub(super) struct Chain {
    chain_id: u64,
    state: State,
    blocks: Vec<Block>,
    hashes: Vec<B256>,
    numbers: HashMap<B256, usize>,
    /// Block number and index of each transaction.
    transactions: HashMap<B256, (usize, usize)>,
    steps: Vec<Step>,
    snapshots: BTreeMap<u64, usize>,
    snapshots_made: u64,
    clock: Clock,
    log: Option<Log>,
}

/// Where a call looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The latest state, in the block that would come next.
    Tip,
    /// The state that this block left, in the block itself.
    Block(usize),
}

impl Chain {
    /// A chain of the genesis block alone, in memory.
    pub(super) fn new(chain_id: u64, genesis: ChangeSet) -> Self {
        let mut state = State::new();
        state.apply(genesis);
        let mut chain = Self {
            chain_id,
            blocks: Vec::new(),
            hashes: Vec::new(),
            numbers: HashMap::new(),
            transactions: HashMap::new(),
            steps: Vec::new(),
            snapshots: BTreeMap::new(),
            snapshots_made: 0,
            clock: Clock::default(),
            log: None,
            state,
        };
        let genesis = Block::genesis(chain.state.commitment(), chain_id);
        chain.index(genesis);
        chain
    }

    /// Repeats a logged step. Call before [`set_log`](Self::set_log).
    pub(super) fn replay(&mut self, record: Record) -> Result<(), StepError> {
        match record {
            Record::Block {
                timestamp,
                hash,
                transactions,
            } => {
                let (block, undo) = self.run_block(timestamp, &transactions)?;
                if block.hash != hash {
                    return Err(StepError::OtherHash {
                        number: block.header.number,
                        found: block.hash,
                        expected: hash,
                    });
                }
                self.index(block);
                self.remember(StepKind::Block, undo, 0);
            }
            Record::Override(change) => {
                let undo = self.state.apply(self.override_changes(&change));
                self.remember(StepKind::Override, vec![undo], 0);
            }
            Record::Clock { ahead_secs } => {
                let ahead_secs_before = self.clock.set_ahead(ahead_secs);
                self.remember(StepKind::Clock { ahead_secs_before }, Vec::new(), 0);
            }
        }
        Ok(())
    }

    /// From here on every step goes to `log`. No snapshot reaches back to steps from before.
    pub(super) fn set_log(&mut self, log: Log) {
        self.log = Some(log);
    }

    /// Mines one block with these transactions, now.
    pub(super) fn mine(
        &mut self,
        transactions: Vec<SenderAndTransaction>,
    ) -> Result<(), StepError> {
        let timestamp = self.next_timestamp();
        let (block, undo) = self.run_block(timestamp, &transactions)?;
        let record = Record::Block {
            timestamp,
            hash: block.hash,
            transactions,
        };
        let log_end = match self.write(&record) {
            Ok(log_end) => log_end,
            Err(error) => {
                self.take_back(&undo);
                return Err(error);
            }
        };
        self.clock.block_mined();
        self.index(block);
        self.remember(StepKind::Block, undo, log_end);
        Ok(())
    }

    /// Changes the state without a transaction.
    pub(super) fn override_state(&mut self, change: Override) -> Result<(), StepError> {
        let undo = self.state.apply(self.override_changes(&change));
        match self.write(&Record::Override(change)) {
            Ok(log_end) => {
                self.remember(StepKind::Override, vec![undo], log_end);
                Ok(())
            }
            Err(error) => {
                self.state.undo(&undo);
                Err(error)
            }
        }
    }

    /// Moves the clock forward; returns by how many seconds it is ahead of the wall clock now.
    pub(super) fn increase_time(&mut self, secs: u64) -> Result<i64, StepError> {
        let secs = i64::try_from(secs).unwrap_or(i64::MAX);
        let ahead_secs = self.clock.ahead_secs().saturating_add(secs);
        self.move_clock(ahead_secs)?;
        Ok(ahead_secs)
    }

    /// The next block has exactly this time; the clock runs on from there.
    pub(super) fn set_next_timestamp(&mut self, timestamp: u64) -> Result<(), StepError> {
        let latest = self.latest().header.timestamp;
        if timestamp < latest {
            return Err(StepError::TimeRunsBackwards {
                asked: timestamp,
                latest,
            });
        }
        self.move_clock(self.clock.ahead_at(timestamp))?;
        self.clock.set_next(timestamp);
        Ok(())
    }

    /// Marks this moment for [`revert`](Self::revert). Marks do not outlive the process.
    pub(super) fn snapshot(&mut self) -> u64 {
        self.snapshots_made += 1;
        self.snapshots.insert(self.snapshots_made, self.steps.len());
        self.snapshots_made
    }

    /// Takes everything since the mark back, on disk too; `false` if there is no such mark.
    pub(super) fn revert(&mut self, snapshot: u64) -> Result<bool, StepError> {
        let Some(mark) = self.snapshots.get(&snapshot).copied() else {
            return Ok(false);
        };
        if let (Some(log), Some(step)) = (&mut self.log, self.steps.get(mark)) {
            log.truncate(step.log_end).map_err(StepError::Log)?;
        }
        self.snapshots.split_off(&snapshot);
        while self.steps.len() > mark {
            let Some(step) = self.steps.pop() else { break };
            self.take_back(&step.undo);
            match step.kind {
                StepKind::Block => self.forget_latest(),
                StepKind::Override => {}
                StepKind::Clock { ahead_secs_before } => {
                    self.clock.set_ahead(ahead_secs_before);
                }
            }
        }
        Ok(true)
    }

    /// Runs a call without changing anything.
    pub(super) fn call(&self, at: At, call: &Call) -> Result<ExecutionResult, StepError> {
        let view = self.view(at);
        let around = self.surroundings(at);
        Ok(evm::run_call(&view, &around, call)?.result)
    }

    /// The state at a block.
    pub(super) fn view(&self, at: At) -> View<'_> {
        let mut overlay = Overlay::default();
        if let At::Block(number) = at {
            let mut height = self.blocks.len() - 1;
            for step in self.steps.iter().rev() {
                if height <= number {
                    break;
                }
                for undo in step.undo.iter().rev() {
                    overlay.step_back(undo);
                }
                if matches!(step.kind, StepKind::Block) {
                    height -= 1;
                }
            }
        }
        View::new(&self.state, overlay, &self.hashes)
    }

    pub(super) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub(super) fn latest(&self) -> &Block {
        &self.blocks[self.blocks.len() - 1]
    }

    /// The number of the block with this hash.
    pub(super) fn number_of(&self, hash: B256) -> Option<usize> {
        self.numbers.get(&hash).copied()
    }

    /// A mined transaction, its block and its index.
    pub(super) fn transaction(&self, hash: B256) -> Option<(&Block, usize, &Mined)> {
        let (number, index) = self.transactions.get(&hash)?;
        let block = self.blocks.get(*number)?;
        Some((block, *index, block.transactions.get(*index)?))
    }

    /// The block that would be mined now.
    pub(super) fn pending(&self) -> Surroundings {
        self.latest().next(self.chain_id, self.next_timestamp())
    }

    fn surroundings(&self, at: At) -> Surroundings {
        match at {
            At::Tip => self.pending(),
            At::Block(number) => {
                let block = &self.blocks[number];
                Surroundings {
                    number: block.header.number,
                    timestamp: block.header.timestamp,
                    base_fee: block.base_fee(),
                    randomness: block.header.mix_hash,
                    ..block.next(self.chain_id, 0)
                }
            }
        }
    }

    fn next_timestamp(&self) -> u64 {
        self.clock.next_block_at(self.latest().header.timestamp)
    }

    fn run_block(
        &mut self,
        timestamp: u64,
        transactions: &[SenderAndTransaction],
    ) -> Result<(Block, Vec<Undo>), StepError> {
        let around = self.latest().next(self.chain_id, timestamp);
        let mut draft = Draft::default();
        let mut undo = Vec::with_capacity(transactions.len());
        for tx in transactions {
            let view = View::new(&self.state, Overlay::default(), &self.hashes);
            match evm::run_transaction(&view, &around, &tx.envelope, tx.sender) {
                Ok(ran) => {
                    undo.push(self.state.apply(ChangeSet::from_evm(ran.state)));
                    draft.add(&around, tx.sender, tx.envelope.clone(), ran.result);
                }
                Err(refused) => {
                    self.take_back(&undo);
                    return Err(refused.into());
                }
            }
        }
        let block = draft.seal(self.latest(), &around, self.state.commitment());
        Ok((block, undo))
    }

    fn override_changes(&self, change: &Override) -> ChangeSet {
        let mut changes = ChangeSet::default();
        match change {
            Override::Balance(address, balance) => {
                let mut record = self.state.account(*address);
                record.balance = *balance;
                changes.accounts.insert(*address, record);
            }
            Override::Nonce(address, nonce) => {
                let mut record = self.state.account(*address);
                record.nonce = *nonce;
                changes.accounts.insert(*address, record);
            }
            Override::Code(address, code) => {
                let code = Bytecode::new_legacy(code.clone());
                let mut record = self.state.account(*address);
                record.code_hash = code.hash_slow();
                changes.codes.push((record.code_hash, code));
                changes.accounts.insert(*address, record);
            }
            Override::Slot(address, key, value) => {
                changes.slots.insert((*address, *key), *value);
            }
        }
        changes
    }

    fn move_clock(&mut self, ahead_secs: i64) -> Result<(), StepError> {
        let log_end = self.write(&Record::Clock { ahead_secs })?;
        let ahead_secs_before = self.clock.set_ahead(ahead_secs);
        self.remember(StepKind::Clock { ahead_secs_before }, Vec::new(), log_end);
        Ok(())
    }

    /// Returns the log's length before the record.
    fn write(&mut self, record: &Record) -> Result<u64, StepError> {
        let Some(log) = &mut self.log else {
            return Ok(0);
        };
        let log_end = log.end();
        log.append(&record.encode()).map_err(|error| {
            tracing::error!(%error, path = %log.path().display(), "block log is not writable");
            StepError::Log(error)
        })?;
        Ok(log_end)
    }

    fn remember(&mut self, kind: StepKind, undo: Vec<Undo>, log_end: u64) {
        self.steps.push(Step {
            kind,
            undo,
            log_end,
        });
    }

    fn take_back(&mut self, undo: &[Undo]) {
        for undo in undo.iter().rev() {
            self.state.undo(undo);
        }
    }

    fn index(&mut self, block: Block) {
        let number = self.blocks.len();
        self.numbers.insert(block.hash, number);
        for (index, mined) in block.transactions.iter().enumerate() {
            self.transactions
                .insert(*mined.envelope.tx_hash(), (number, index));
        }
        self.hashes.push(block.hash);
        self.blocks.push(block);
    }

    fn forget_latest(&mut self) {
        if let Some(block) = self.blocks.pop() {
            self.hashes.pop();
            self.numbers.remove(&block.hash);
            for mined in &block.transactions {
                self.transactions.remove(mined.envelope.tx_hash());
            }
        }
    }
}
