//! Opening: the tables get what the log has and they lack, then the threads start.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc::sync_channel},
    thread::{self, JoinHandle},
};

use redb::{Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::{
    apply, checkpoint,
    decide::{Decider, Known},
    filter::Filter,
    handle::Inner,
    log::{FRAME_HEAD_BYTES, Frame, Log, Pool, Replay},
    logged::{self, AnswersMark},
    state::{Shared, State},
    storage::Storage,
    tables,
    writer::Writer,
};
use crate::{
    Config, Totals,
    codec::{self, TotalsRow},
    error::OpenError,
};

/// Opens the files, repairs what a crash left, and starts the threads.
pub(super) fn start(storage: Arc<dyn Storage>, config: Config) -> Result<Inner, OpenError> {
    let mut builder = Builder::new();
    builder.set_cache_size(config.cache_bytes);
    let db = storage.database(&builder)?;
    tables::prepare(&db)?;
    let known = Stored::load(&db)?;
    let replay = Replay::open(Arc::clone(&storage), known.applied)?;
    replay_all(&replay, &db, known, config)?;
    let next_segment = replay.finish()?;

    let stored = Stored::load(&db)?;
    let has_payments = db
        .begin_read()
        .map_err(redb::Error::from)?
        .open_table(tables::INDEX)
        .map_err(redb::Error::from)?
        .len()
        .map_err(redb::Error::from)?
        > 0;
    let pool = Arc::new(Pool::new(storage, next_segment, config.segment_bytes));
    let state = State {
        totals: stored.totals.clone(),
        answers: stored.answers,
        ..State::default()
    };
    let decider = stored.decider(config);
    let applied = decider.last();
    let shared = Arc::new(Shared::new(config, db, Arc::clone(&pool), state, applied));
    let (jobs, queue) = sync_channel(config.queue_max);
    let writer = Writer {
        shared: Arc::clone(&shared),
        queue,
        log: Log::new(pool),
        decider,
    };
    let threads = start_threads(&shared, writer, has_payments)?;
    Ok(Inner {
        shared,
        jobs: Some(jobs),
        threads,
    })
}

fn start_threads(
    shared: &Arc<Shared>,
    writer: Writer,
    has_payments: bool,
) -> Result<Vec<JoinHandle<()>>, OpenError> {
    let mut threads = vec![
        thread::Builder::new()
            .name("rialto-ledger".into())
            .spawn(|| writer.run())?,
    ];
    let of_checkpoints = Arc::clone(shared);
    threads.push(
        thread::Builder::new()
            .name("rialto-tables".into())
            .spawn(|| checkpoint::run(of_checkpoints))?,
    );
    if has_payments {
        let of_filter = Arc::clone(shared);
        threads.push(
            thread::Builder::new()
                .name("rialto-filter".into())
                .spawn(move || checkpoint::fill_filter(&of_filter))?,
        );
    } else {
        shared.filter.set_complete();
    }
    Ok(threads)
}

/// What the tables say about themselves.
#[derive(Debug)]
struct Stored {
    applied: u64,
    answers: AnswersMark,
    totals: HashMap<(alloy_primitives::Address, alloy_primitives::Address), Totals>,
}

impl Stored {
    fn load(db: &Database) -> Result<Self, redb::Error> {
        let transaction = db.begin_read()?;
        let meta = transaction.open_table(tables::META)?;
        let number = |key| -> Result<u64, redb::Error> {
            Ok(meta.get(key)?.map_or(0, |value| value.value()))
        };
        let mut totals = HashMap::new();
        for row in transaction.open_table(tables::TOTALS)?.iter()? {
            let sums: Totals = codec::decode::<TotalsRow>(row?.1.value())?.into();
            totals.insert((sums.receiver, sums.token), sums);
        }
        Ok(Self {
            applied: number(tables::APPLIED_KEY)?,
            answers: AnswersMark {
                count: number(tables::ANSWERS_COUNT_KEY)?,
                bytes: number(tables::ANSWERS_BYTES_KEY)?,
            },
            totals,
        })
    }

    fn decider(self, config: Config) -> Decider {
        Decider::new(config, self.totals, self.answers, self.applied)
    }
}

/// Moves what the log has and the tables lack, in runs of bounded size. Killed in between, the
/// next start goes on where the tables are.
fn replay_all(
    replay: &Replay,
    db: &Database,
    stored: Stored,
    config: Config,
) -> Result<(), OpenError> {
    let mut decider = stored.decider(config);
    let mut state = State::default();
    // Never complete, so never asked in vain.
    let filter = Filter::new(0);
    replay.each(|frame| -> Result<(), OpenError> {
        take_frame(&mut decider, &mut state, &filter, db, frame)?;
        if state.current.bytes >= config.checkpoint_bytes {
            apply_current(&mut state, db, &config)?;
        }
        Ok(())
    })?;
    apply_current(&mut state, db, &config)
}

fn take_frame(
    decider: &mut Decider,
    state: &mut State,
    filter: &Filter,
    db: &Database,
    frame: Frame,
) -> Result<(), OpenError> {
    let Frame { head, bytes } = frame;
    let mut draft = decider.draft(bytes, head.recorded_at);
    let known = Known::new(state, filter, db);
    let mut at = FRAME_HEAD_BYTES;
    for number in head.first..=head.last() {
        let (parts, next) = logged::parse(&draft.frame, at).map_err(redb::Error::from)?;
        at = next;
        if number == decider.last().saturating_add(1) {
            decider.replay(&known, &mut draft, parts)?;
        }
    }
    drop(known);
    let mut generation = draft.generation;
    generation.bytes = u64::try_from(draft.frame.len()).unwrap_or(u64::MAX);
    generation.frames = vec![Arc::new(draft.frame)];
    if !generation.is_empty() {
        state.current.append(generation);
    }
    Ok(())
}

fn apply_current(state: &mut State, db: &Database, config: &Config) -> Result<(), OpenError> {
    let run = std::mem::take(&mut state.current);
    if !run.is_empty() {
        apply::apply(db, &run, config)?;
        tracing::info!(
            entries = run.records.len(),
            last = run.last,
            "replayed the ledger's log"
        );
    }
    Ok(())
}
