//! Taking entries back from the log, where only accepted ones are: nothing is decided again.

use rialto_channels::Amount;

use super::{Decider, Draft, Known, moves, read_channel};
use crate::{
    codec::{self, RecordRow},
    embedded::{logged::Parts, tables},
};

impl Decider {
    /// Takes an entry from the log, where only accepted ones are.
    pub(in crate::embedded) fn replay(
        &mut self,
        known: &Known<'_>,
        draft: &mut Draft,
        parts: Parts,
    ) -> Result<(), redb::Error> {
        let frame = &draft.frame;
        match parts {
            Parts::Channel(part) => {
                let snapshot = read_channel(frame.get(part.clone()))?;
                let head = self.head(known, &snapshot)?;
                self.take_channel(draft, &snapshot, head, None, part);
            }
            Parts::Charge {
                channel,
                record,
                answer,
            } => {
                let row: RecordRow = codec::decode(frame.get(record.clone()).unwrap_or_default())?;
                let key = row.key;
                let receipt = row.into_receipt()?.receipt;
                if let Some(answer) = &answer {
                    self.answers.add(answer.len());
                }
                let changed = match channel {
                    Some(part) => {
                        let snapshot = read_channel(frame.get(part.clone()))?;
                        let head = self.head(known, &snapshot)?;
                        Some((snapshot, head, part))
                    }
                    None => None,
                };
                if let Ok(totals) = self.charged(&receipt) {
                    self.put_totals(draft, totals);
                }
                if let Some((snapshot, head, part)) = changed {
                    self.take_channel(draft, &snapshot, head, Some(&receipt), part);
                }
                self.take_record(draft, key, &receipt, record, answer);
            }
            Parts::Nonce(key) => {
                draft.generation.nonces.insert(key);
            }
            Parts::Movement(key, amount) => {
                let (kind, _, receiver, token) = tables::movement(&key);
                let kind = moves::Kind::of_tag(kind).ok_or(codec::Malformed("movement"))?;
                let amount_moved = Amount::new(amount);
                if let Ok(totals) =
                    self.add(receiver, token, amount_moved, |totals| kind.sum(totals))
                {
                    self.put_totals(draft, totals);
                }
                moves::take_movement(draft, kind, key, amount);
            }
        }
        self.accepted(draft);
        Ok(())
    }
}
