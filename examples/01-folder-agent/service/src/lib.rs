//! `folder-agent`: reads a folder of mixed files, with the help of three other services.
//!
//! What a file is, `filetype` says; what a picture says, `ocr`; which texts mean alike, `embed`. Whose file costs more than
//! is left of the budget is named in the report and not looked at: half a report is better than none.

pub mod groups;
mod others;
pub mod words;

/// Reads folders.
#[rialto_sdk::service]
pub mod folder_agent {
    use crate::groups;
    use crate::others::{self, Ledger};
    use crate::words;

    /// A file of the folder.
    pub struct File {
        /// Its name.
        pub name: String,
        /// Its bytes.
        pub content: Vec<u8>,
    }

    /// What was found out about a file.
    pub struct Seen {
        /// Its name.
        pub name: String,
        /// What it is, in words.
        pub kind: String,
        /// The first words that it says; empty for what says nothing.
        pub says: String,
        /// Files of one group are about the same; none for what says nothing.
        pub group: Option<u32>,
        /// Why it is not looked at further; empty if it is.
        pub left_out: String,
    }

    /// A call of another service.
    pub struct Hop {
        /// The service.
        pub service: String,
        /// For which file, or for all.
        pub about: String,
        /// What it cost, in base units.
        pub charged: u64,
    }

    /// What the folder holds.
    pub struct Findings {
        /// For people, as Markdown.
        pub text: String,
        /// Each file, in the order in which they came.
        pub files: Vec<Seen>,
        /// Each call of another service, in order.
        pub hops: Vec<Hop>,
        /// What is left of the budget, in base units.
        pub left: u64,
    }

    /// Looks at every file, and says what there is, what belongs together, and what that cost.
    pub fn report(
        /// At most 64 files.
        files: Vec<File>,
    ) -> Result<Findings, String> {
        if files.len() > 64 {
            return Err(format!(
                "{} files are too many: send 64 at a time",
                files.len()
            ));
        }
        let mut ledger = Ledger::default();
        let mut seen = Vec::new();
        let mut texts = Vec::new();
        for file in files {
            let (found, text) = looked_at(file, &mut ledger);
            seen.push(found);
            texts.push(text);
        }
        let known: Vec<usize> = (0..texts.len())
            .filter(|&at| !texts[at].is_empty())
            .collect();
        let said: Vec<String> = known.iter().map(|&at| texts[at].clone()).collect();
        if !said.is_empty() {
            match others::embed(&said, &mut ledger) {
                Ok(vectors) => {
                    for (&at, group) in known.iter().zip(groups::of(&vectors)) {
                        seen[at].group = Some(group);
                    }
                }
                Err(why) => {
                    for &at in &known {
                        seen[at].left_out = format!("not compared with others: {why}");
                    }
                }
            }
        }
        let (hops, left) = ledger.close();
        Ok(Findings {
            text: told(&seen, &hops, left),
            files: seen,
            hops,
            left,
        })
    }

    /// What a file is, and what it says.
    fn looked_at(file: File, ledger: &mut Ledger) -> (Seen, String) {
        let mut seen = Seen {
            name: file.name,
            kind: "unknown".to_owned(),
            says: String::new(),
            group: None,
            left_out: String::new(),
        };
        let verdict = match others::identify(&seen.name, &file.content, ledger) {
            Ok(verdict) => verdict,
            Err(why) => {
                seen.left_out = why;
                return (seen, String::new());
            }
        };
        seen.kind = verdict.description;
        let read = match (verdict.group.as_str(), verdict.is_text) {
            ("image", _) => others::read(&seen.name, &file.content, ledger),
            (_, true) => Ok(String::from_utf8_lossy(&file.content).into_owned()),
            _ => Ok(String::new()),
        };
        let text = read.unwrap_or_else(|why| {
            seen.left_out = why;
            String::new()
        });
        seen.says = words::first(&text, 12, 120);
        let text = words::first(&text, WORDS_MAX, others::BYTES_MAX);
        (seen, text)
    }

    fn told(files: &[Seen], hops: &[Hop], left: u64) -> String {
        let mut text = String::from("# What the folder holds\n\n");
        for file in files {
            let group = file
                .group
                .map_or(String::new(), |group| format!(", group {group}"));
            text.push_str(&format!(
                "- **{}**: {}{group}",
                words::plain(&file.name),
                file.kind
            ));
            if !file.says.is_empty() {
                text.push_str(&format!(": {}", words::plain(&file.says)));
            }
            if !file.left_out.is_empty() {
                text.push_str(&format!(" (left out: {})", file.left_out));
            }
            text.push('\n');
        }
        text.push_str("\n## What it cost\n\n| service | for | base units |\n|---|---|---|\n");
        for hop in hops {
            text.push_str(&format!(
                "| {} | {} | {} |\n",
                hop.service,
                words::plain(&hop.about),
                hop.charged
            ));
        }
        let sum: u64 = hops.iter().map(|hop| hop.charged).sum();
        text.push_str(&format!("\n{sum} in all for others; {left} are left.\n"));
        text
    }

    /// Words of a file that are compared: as many as the model reads.
    const WORDS_MAX: usize = 120;
}
