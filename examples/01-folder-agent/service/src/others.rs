//! The services that work for this one, by the types that they publish, and what each call of them cost.

use rialto_sdk::mesh;

use crate::folder_agent::Hop;

/// What `filetype` publishes.
mod filetype {
    wit_bindgen::generate!({
        inline: "
            package rialto-service:filetype@0.1.0;
            interface filetype {
                record verdict {
                    label: string, mime-type: string, group: string, description: string,
                    extensions: list<string>, is-text: bool, score: f32,
                }
                identify: func(content: list<u8>) -> result<verdict, string>;
            }
            world other { import filetype; }
        ",
    });
}

/// What `ocr` publishes.
mod ocr {
    wit_bindgen::generate!({
        inline: "
            package rialto-service:ocr@0.1.0;
            interface ocr {
                record point { x: f32, y: f32 }
                record line { text: string, confidence: f32, corners: list<point> }
                record page { lines: list<line>, rotation: u16, width: u32, height: u32 }
                record options { rotation: option<u16>, min-confidence: option<f32> }
                read: func(content: list<u8>, options: option<options>) -> result<page, string>;
            }
            world other { import ocr; }
        ",
    });
}

/// What `embed` publishes.
mod embed {
    wit_bindgen::generate!({
        inline: "
            package rialto-service:embed@0.1.0;
            interface embed {
                embed: func(texts: list<string>) -> result<list<list<f32>>, string>;
            }
            world other { import embed; }
        ",
    });
}

pub use filetype::rialto_service::filetype::filetype::Verdict;

/// What calls of others cost: the difference that each makes to what is left.
#[derive(Default)]
pub struct Ledger(Vec<Hop>);

impl Ledger {
    fn count<T>(&mut self, service: &str, about: &str, call: impl FnOnce() -> T) -> T {
        let before = mesh::budget_left();
        let answer = call();
        let charged = before.saturating_sub(mesh::budget_left());
        self.0.push(Hop {
            service: service.to_owned(),
            about: about.to_owned(),
            charged,
        });
        answer
    }

    /// All calls, and what is left.
    pub fn close(self) -> (Vec<Hop>, u64) {
        (self.0, mesh::budget_left())
    }
}

/// What a file is.
pub fn identify(name: &str, content: &[u8], ledger: &mut Ledger) -> Result<Verdict, String> {
    let call = || filetype::rialto_service::filetype::filetype::identify(content);
    ledger.count("filetype", name, call)
}

/// What a picture says, line by line. Enough is kept back to compare all texts in the end.
pub fn read(name: &str, content: &[u8], ledger: &mut Ledger) -> Result<String, String> {
    // As JSON has it, in base 64.
    let reading = quote("ocr", "read", content.len() / 3 * 4)?;
    let comparing = quote("embed", "embed", 64 * BYTES_MAX)?;
    let left = mesh::budget_left();
    if left < reading.saturating_add(comparing) {
        return Err(format!(
            "reading it may cost {reading} and comparing texts {comparing}, and {left} are left"
        ));
    }
    let call = || ocr::rialto_service::ocr::ocr::read(content, None);
    let page = ledger.count("ocr", name, call)?;
    let lines: Vec<String> = page.lines.into_iter().map(|line| line.text).collect();
    Ok(lines.join("\n"))
}

fn quote(service: &str, method: &str, bytes: usize) -> Result<u64, String> {
    let quoted = mesh::quote(service, method, bytes as u64);
    quoted
        .map(|quoted| quoted.price_max)
        .map_err(|error| mesh::describe(&error))
}

/// The most of a text that is compared, in bytes: a file may be one long word, and `embed` refuses all texts if one is too
/// long.
pub const BYTES_MAX: usize = 2_048;

/// A vector for each text.
pub fn embed(texts: &[String], ledger: &mut Ledger) -> Result<Vec<Vec<f32>>, String> {
    let call = || embed::rialto_service::embed::embed::embed(texts);
    ledger.count("embed", "all that says something", call)
}
