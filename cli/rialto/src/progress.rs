//! The board that shows a start: a spinner for steps, a bar for transfers, plain lines for scripts.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rialto_node::Step;

use crate::show;

/// Shows steps as they come.
#[derive(Debug)]
pub(crate) struct Board {
    bar: Option<ProgressBar>,
    last: Mutex<String>,
    quiet: bool,
}

impl Board {
    /// A board on standard error; quiet prints nothing.
    pub(crate) fn new(quiet: bool) -> Arc<Self> {
        let live = !quiet && std::io::stderr().is_terminal();
        let bar = live.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Arc::new(Self {
            bar,
            last: Mutex::default(),
            quiet,
        })
    }

    /// Shows one step.
    pub(crate) fn show(&self, step: Step) {
        match step {
            Step::Say(text) => self.say(text),
            Step::Transfer { what, bytes, total } => self.transfer(&what, bytes, total),
        }
    }

    /// Clears what is still moving.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_style(ProgressStyle::default_spinner());
                bar.set_message(text);
            }
            None if self.quiet => {}
            None => {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if *last != text {
                    show::note(format!("· {text}"));
                    *last = text;
                }
            }
        }
    }

    fn transfer(&self, what: &str, bytes: u64, total: Option<u64>) {
        let Some(bar) = &self.bar else {
            self.say(format!("fetching {what}"));
            return;
        };
        if let (Some(total), Ok(style)) = (total, ProgressStyle::with_template(TRANSFER)) {
            bar.set_style(style);
            bar.set_length(total);
            bar.set_position(bytes);
        }
        bar.set_message(what.to_owned());
    }
}

const TRANSFER: &str = "{spinner} {bar:30.cyan} {bytes}/{total_bytes} {msg}";
