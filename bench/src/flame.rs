//! Where the host's processor time goes while paid calls run: a flame graph, by the system's `perf`.
//!
//! A frame's width is its share of all samples; who is called stands above the caller. What merely passes
//! a call on (executors, futures, closures of the standard library) is left out, or there would be nothing else
//! to see.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::runtime::Builder;

use crate::exchange::{Call, address};
use crate::load::{self, Target};
use crate::peers;
use crate::places::Places;
use crate::table;
use crate::throughput::{ANSWER, BODY, PAID_PATH, open_channels};

/// A frame and what it called.
#[derive(Debug, Default)]
struct Frame {
    samples: u64,
    calls: BTreeMap<String, Frame>,
}

/// Loads a mesh with paid calls, samples it, and draws `paid-path.svg` in a folder.
///
/// # Errors
/// There is no `perf` or it may not sample, or the mesh fails.
pub(crate) fn draw(places: &Places, scratch: &Path, folder: &Path, seconds: f64) -> Result<()> {
    let mesh = peers::start_mesh(places, scratch)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let call = Call::json(PAID_PATH, BODY);
    let mut channels = runtime.block_on(open_channels(&mesh, &call, CALLERS))?;
    let time = Duration::from_secs_f64(seconds);
    for channel in &mut channels {
        channel.stock_up(VOUCHERS_A_SECOND * usize::try_from(time.as_secs())? + 100)?;
    }
    let data = scratch.join("perf.data");
    let mut perf = Command::new("perf")
        .args([
            "record",
            "-q",
            "-F",
            FREQUENCY,
            "--call-graph",
            "dwarf,32768",
            "-o",
        ])
        .arg(&data)
        .args(["-p", &mesh.process_id().to_string()])
        .args(["--", "sleep", &seconds.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("`perf` is not installed: on Debian, apt install linux-perf")?;
    let window = runtime.block_on(async {
        let callers = load::connect(address(mesh.gateway())?, CALLERS, &mut channels).await?;
        let expected = Bytes::from_static(ANSWER);
        let target = Target {
            call: &call,
            expected: &expected,
        };
        load::run(callers, &target, time, &mut Vec::new()).await
    })?;
    ensure!(
        perf.wait()?.success(),
        "`perf record` failed: may this user sample?"
    );
    mesh.stop()?;
    let stacks = Command::new("perf")
        .args(["script", "--no-inline", "-F", "comm,ip,sym", "-i"])
        .arg(&data)
        .stderr(Stdio::null())
        .output()?;
    let root = fold(&String::from_utf8_lossy(&stacks.stdout));
    ensure!(root.samples > 0, "`perf` saw nothing");
    let title = format!(
        "Paid calls at {CALLERS} connections: {:.0} a second, {} samples",
        window.rate(),
        root.samples
    );
    fs::create_dir_all(folder)?;
    fs::write(folder.join("paid-path.svg"), picture(&root, &title))?;
    table::say("samples with a frame of it on the stack; one counts for several:");
    for (name, share) in totals(&root) {
        table::say(&format!("{share:5.1} %  {name}"));
    }
    Ok(())
}

/// Sums up the stacks that `perf script` prints: a line with the thread's name, then frames from the
/// innermost out, then an empty line.
fn fold(text: &str) -> Frame {
    let mut root = Frame::default();
    for stack in text.split("\n\n") {
        let mut lines = stack.lines().filter(|line| !line.trim().is_empty());
        let Some(thread) = lines.next() else { continue };
        let mut frames: Vec<String> = lines.filter_map(symbol).collect();
        frames.reverse();
        root.samples += 1;
        let mut at = root.calls.entry(kind_of_thread(thread)).or_default();
        at.samples += 1;
        let mut last = String::new();
        for name in frames {
            // A future and what it generated have one name.
            if name != last {
                at = at.calls.entry(name.clone()).or_default();
                at.samples += 1;
                last = name;
            }
        }
    }
    root
}

/// Threads of a pool are one.
fn kind_of_thread(name: &str) -> String {
    let name = name.trim();
    name.trim_end_matches(|it: char| it.is_ascii_digit() || it == '-')
        .to_owned()
}

/// A frame's name, if it does more than pass a call on.
fn symbol(line: &str) -> Option<String> {
    let (_, name) = line.trim().split_once(' ')?;
    let name = match name.rfind("::h") {
        Some(at) if name.len() - at == "::h0123456789abcdef".len() => name.get(..at)?,
        _ => name,
    };
    let name = name
        .replace("::{{closure}}", "")
        .replace("::{closure#0}", "");
    let plain = name.trim_start_matches(['<', '&']);
    let passes_on = PASSING_ON.iter().any(|prefix| plain.starts_with(prefix));
    (!passes_on && name != "[unknown]").then_some(name)
}

const PASSING_ON: [&str; 16] = [
    "tokio::runtime",
    "tokio::task",
    "tokio::loom",
    "tokio::util",
    "core::",
    "std::",
    "alloc::boxed",
    "tower",
    "axum",
    "futures",
    "tracing",
    "hyper_util",
    "__libc_start",
    "start_thread",
    "clone3",
    "_start",
];

/// The shares of what is worth a line, in per cent.
fn totals(root: &Frame) -> Vec<(&'static str, f64)> {
    let share = |parts: &[&str]| {
        let samples = samples_below(root, parts);
        samples as f64 * 100.0 / root.samples as f64
    };
    GROUPS
        .iter()
        .map(|(name, parts, _)| (*name, share(parts)))
        .collect()
}

/// Samples in frames whose names have one of the parts, each counted once.
fn samples_below(frame: &Frame, parts: &[&str]) -> u64 {
    let below = frame.calls.iter().map(|(name, frame)| {
        if parts.iter().any(|part| name.contains(part)) {
            frame.samples
        } else {
            samples_below(frame, parts)
        }
    });
    below.sum()
}

/// What frames belong to, by parts of their names, and the colour.
const GROUPS: [(&str, &[&str], &str); 7] = [
    ("signatures", &["secp256k1", "keccak", "Keccak"], "#d9534f"),
    (
        "the guest and its instance",
        &["wasmtime", "cranelift", "rialto_host"],
        "#8e6bbf",
    ),
    ("the ledger", &["rialto_ledger", "redb"], "#e0a030"),
    (
        "channels and receipts",
        &["rialto_channels", "rialto_node"],
        "#4f9d69",
    ),
    (
        "the gateway",
        &["rialto_gateway", "serde_json", "base64"],
        "#3c8dbc",
    ),
    ("HTTP", &["hyper", "http"], "#5bc0de"),
    (
        "the kernel's sockets and wake-ups",
        &["tcp_", "sock_", "futex", "epoll", "do_syscall"],
        "#999999",
    ),
];

fn colour(name: &str) -> &'static str {
    let found = GROUPS
        .iter()
        .find(|(_, parts, _)| parts.iter().any(|part| name.contains(part)));
    found.map_or("#d8cfc4", |(_, _, colour)| colour)
}

/// The graph as SVG.
fn picture(root: &Frame, title: &str) -> String {
    let levels = depth(root, root.samples);
    let height = f64::from(levels) * LEVEL + 60.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    let mut x = 10.0;
    for (name, _, colour) in GROUPS {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"32\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"41\">{name}</text>",
            x + 14.0
        );
        x += 30.0 + 6.2 * name.len() as f64;
    }
    let area = Area {
        each: WIDTH / root.samples as f64,
        least: least(root.samples),
        all: root.samples,
    };
    area.stand(&mut svg, root, 0.0, height - LEVEL);
    svg.push_str("</svg>\n");
    svg
}

/// How frames become rectangles.
struct Area {
    each: f64,
    least: u64,
    all: u64,
}

impl Area {
    /// Draws what a frame called, from `x` on, with its foot at `y`.
    fn stand(&self, svg: &mut String, frame: &Frame, mut x: f64, y: f64) {
        for (name, called) in &frame.calls {
            let width = called.samples as f64 * self.each;
            if called.samples >= self.least {
                self.one(svg, name, called, (x, y, width));
                self.stand(svg, called, x, y - LEVEL);
            }
            x += width;
        }
    }

    fn one(&self, svg: &mut String, name: &str, frame: &Frame, (x, y, width): (f64, f64, f64)) {
        let share = frame.samples as f64 * 100.0 / self.all as f64;
        let letters = frame.samples.saturating_mul(LETTERS) / self.all.max(1);
        let room = usize::try_from(letters).unwrap_or(usize::MAX);
        let text: String = match name.chars().count() <= room {
            true => name.to_owned(),
            false if room > 4 => name.chars().take(room - 1).chain(['…']).collect(),
            false => String::new(),
        };
        let _ = writeln!(
            svg,
            "<g><title>{} ({share:.1} %)</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{}\" \
             fill=\"{}\" rx=\"1\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            escaped(name),
            (width - 0.5).max(0.5),
            LEVEL - 1.0,
            colour(name),
            x + 2.0,
            y + 11.0,
            escaped(&text)
        );
    }
}

/// Frames with fewer samples are not drawn.
fn least(all: u64) -> u64 {
    (all / 400).max(1)
}

fn depth(frame: &Frame, all: u64) -> u32 {
    let drawn = frame.calls.values().filter(|it| it.samples >= least(all));
    drawn.map(|it| 1 + depth(it, all)).max().unwrap_or(0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const CALLERS: usize = 64;
const VOUCHERS_A_SECOND: usize = 400;
const FREQUENCY: &str = "199";
const WIDTH: f64 = 1_400.0;
const LEVEL: f64 = 16.0;
/// Letters that fit side by side.
const LETTERS: u64 = 225;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_summed_up_from_the_outermost_in() {
        let text = "rialto-worker-1 \n\t  aa inner::h0123456789abcdef\n\t  bb core::ops::call\n\
                    \t  cc outer\n\n\
                    rialto-worker-2 \n\t  cc outer\n\n";
        let root = fold(text);
        assert_eq!(root.samples, 2);
        let outer = &root.calls["rialto-worker"].calls["outer"];
        assert_eq!((outer.samples, outer.calls["inner"].samples), (2, 1));
        let svg = picture(&root, "a < b");
        assert!(svg.contains("outer (100.0 %)") && svg.contains("a &lt; b"));
    }
}
