//! Searching by meaning: the service `embed` on the mesh reads what is searched for, and the texts of services
//! that nobody has read before, in one paid call.
//!
//! Whoever serves `embed` can make searches worse, and nothing else: what is verified stays verified.

use std::time::Duration;

use rialto_channels::Amount;
use rialto_node::{Node, Unread};
use rialto_registry::index::Vector;
use serde_json::json;

use crate::client::mesh::{Ask, MeshClient, MeshError};
use crate::client::{Allowance, Body};
use crate::problem::{ErrorCode, Problem};

/// What `text` means. Services whose texts were not read yet are read along.
pub(super) async fn of(
    node: &Node,
    client: &MeshClient,
    text: &str,
    allowance: Allowance,
) -> Result<Vector, Problem> {
    let unread = node.unread_services(READ_MAX);
    let texts: Vec<&str> = [text]
        .into_iter()
        .chain(unread.iter().map(|it| it.text.as_str()))
        .collect();
    let asked = client.call(&ask(&texts, allowance)?).await;
    let answer = asked.map_err(|error| unread_problem(&error))?.answer;
    let rows: Vec<Vec<f32>> = serde_json::from_slice(&answer.body)
        .map_err(|error| odd(format!("something else than vectors: {error}")))?;
    if rows.len() != texts.len() {
        let (found, asked) = (rows.len(), texts.len());
        return Err(odd(format!("{found} vectors for {asked} texts")));
    }
    let mut vectors = rows.iter().map(|row| vector(row));
    let meant = vectors.next().unwrap_or_else(|| Err(odd("no vector")))?;
    for (service, vector) in unread.iter().zip(vectors) {
        keep(node, service, vector?);
    }
    Ok(meant)
}

fn keep(node: &Node, service: &Unread, vector: Vector) {
    node.understand(service, vector);
}

fn ask(texts: &[&str], allowance: Allowance) -> Result<Ask, Problem> {
    let service = SERVICE.parse();
    let service = service.map_err(|error| odd(format!("`{SERVICE}` {error}")))?;
    let body = Body::json(&json!({ "texts": texts }));
    Ok(Ask {
        idempotent: true,
        price_max: Some(PRICE_MAX),
        allowance: Some(allowance),
        ..Ask::once(service, METHOD, body, TIME_MAX)
    })
}

/// A vector of length 1 in whole 127ths.
fn vector(row: &[f32]) -> Result<Vector, Problem> {
    let rounded = row.iter().map(|part| {
        let scaled = (part * 127.0).round().clamp(-127.0, 127.0);
        // Within bounds, or not a number, which counts as nothing.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is between -127 and 127"
        )]
        let rounded = scaled as i8;
        rounded
    });
    Vector::new(rounded.collect()).map_err(|error| odd(error.to_string()))
}

fn unread_problem(error: &MeshError) -> Problem {
    Problem::new(
        ErrorCode::Unavailable,
        format!("what is searched for cannot be read for its meaning: {error}"),
    )
    .hint("search by words alone, or see that somebody offers `embed`: rialto search embed")
}

fn odd(what: impl Into<String>) -> Problem {
    let what = what.into();
    Problem::new(
        ErrorCode::PeerBrokeOff,
        format!("`{SERVICE}` answered {what}"),
    )
}

/// Who reads texts.
pub(super) const SERVICE: &str = "embed";
const METHOD: &str = "embed";
/// Services that are read along with one search. `embed` takes 64 texts.
const READ_MAX: usize = 63;
/// The most that one search may cost, in base units: half a cent.
const PRICE_MAX: Amount = Amount::new(5_000);
const TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_rounded_and_bounded() {
        let near = vector(&[0.6, 0.8]).unwrap();
        assert!(near.nearness_permille(&vector(&[0.6, 0.8]).unwrap()) > 980);
        assert_eq!(near.nearness_permille(&vector(&[-0.8, 0.6]).unwrap()), 0);
        let odd = vector(&[f32::NAN, f32::INFINITY]).unwrap();
        assert_eq!(odd, vector(&[0.0, 1.0]).unwrap());
        assert!(vector(&[]).is_err());
    }
}
