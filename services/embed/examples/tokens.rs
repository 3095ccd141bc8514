//! Reads JSON strings, one a line, and prints each one's pieces as a JSON list: the native side of
//! `services/reference/check_tokens.py`.
#![expect(clippy::print_stdout, reason = "printing is this program's purpose")]

use std::io::BufRead;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        println!("{:?}", embed::tokenizer::encode(&text));
    }
    Ok(())
}
