//! What the magika model sees of a file, and how its scores become a verdict.
//!
//! Behaves as the `magika` Python package 1.0.3 does in its default high-confidence mode on bytes:
//! the same features, the same rules for short files, the same thresholds. Not here: running the
//! model, which is the host's part.

/// The shape of the model's input: one file.
pub const FEATURES_SHAPE: [u32; 2] = [1, 2048];

/// The model's input: bytes of the beginning, then of the end, with [`tables::PADDING`] in the gaps.
pub type Features = Vec<i32>;

/// A kind of content.
#[derive(Debug, PartialEq, Eq)]
pub struct ContentType {
    /// Short name.
    pub label: &'static str,
    /// MIME type.
    pub mime_type: &'static str,
    /// Coarse kind.
    pub group: &'static str,
    /// Name for people.
    pub description: &'static str,
    /// File name extensions without the dot.
    pub extensions: &'static [&'static str],
    /// Whether the content is text.
    pub is_text: bool,
}

/// What one score of the model stands for.
#[derive(Debug)]
pub struct Output {
    /// The content type to report, with the model's overwrites applied.
    pub content_type: &'static ContentType,
    /// The least score at which to report it.
    pub threshold: f64,
}

/// The tables of the model, generated from its configuration at build time.
pub mod tables {
    use super::{ContentType, Output};

    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

/// A verdict and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The kind of content.
    pub content_type: &'static ContentType,
    /// From 0 to 1.
    pub score: f32,
}

/// What is left to ask about a file.
#[derive(Debug, PartialEq)]
pub enum Question {
    /// Nothing: a rule decides.
    Answered(Decision),
    /// The model must look at these features.
    Open(Features),
}

/// Decides by rule where the file is too short, and prepares the model's input otherwise.
#[must_use]
pub fn question(content: &[u8]) -> Question {
    if content.is_empty() {
        return answered(tables::EMPTY);
    }
    if content.len() < tables::MIN_SIZE {
        return answered(by_encoding(content));
    }
    let size = content.len().min(tables::BLOCK_SIZE);
    let (first_block, _) = content.split_at(size);
    let (_, last_block) = content.split_at(content.len() - size);
    let first = first_block.get(leading_space(first_block)..).unwrap_or(&[]);
    if first.len() < tables::MIN_SIZE {
        // Nearly all white space: too few bytes to ask the model about.
        return answered(by_encoding(first_block));
    }
    Question::Open(features(first, strip_end(last_block)))
}

/// The verdict that the model's scores amount to.
///
/// # Errors
/// If the model does not return one score for each of its outputs: another model is installed.
pub fn decide(scores: &[f32]) -> Result<Decision, String> {
    if scores.len() != tables::OUTPUTS.len() {
        return Err(format!(
            "the model returned {} scores, not {}",
            scores.len(),
            tables::OUTPUTS.len()
        ));
    }
    let mut best = (f32::NEG_INFINITY, None);
    for (&score, output) in scores.iter().zip(&tables::OUTPUTS) {
        if score > best.0 {
            best = (score, Some(output)); // The first of equal scores wins, as in the reference.
        }
    }
    let (score, Some(output)) = best else {
        return Err("the model returned no usable score".to_owned());
    };
    let content_type = if f64::from(score) >= output.threshold {
        output.content_type
    } else if output.content_type.is_text {
        tables::TXT
    } else {
        tables::UNKNOWN
    };
    Ok(Decision {
        content_type,
        score,
    })
}

fn answered(content_type: &'static ContentType) -> Question {
    Question::Answered(Decision {
        content_type,
        score: 1.0,
    })
}

fn by_encoding(content: &[u8]) -> &'static ContentType {
    if std::str::from_utf8(content).is_ok() {
        tables::TXT
    } else {
        tables::UNKNOWN
    }
}

fn features(first: &[u8], last: &[u8]) -> Features {
    let first = first.get(..tables::BEG_SIZE).unwrap_or(first);
    let last = last
        .len()
        .checked_sub(tables::END_SIZE)
        .and_then(|start| last.get(start..))
        .unwrap_or(last);
    let mut features = Vec::with_capacity(tables::BEG_SIZE + tables::END_SIZE);
    features.extend(first.iter().map(|&byte| i32::from(byte)));
    features.resize(
        tables::BEG_SIZE + tables::END_SIZE - last.len(),
        tables::PADDING,
    );
    features.extend(last.iter().map(|&byte| i32::from(byte)));
    features
}

fn leading_space(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| !is_space(byte))
        .unwrap_or(bytes.len())
}

fn strip_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|&byte| !is_space(byte))
        .map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or(&[])
}

/// Python's `bytes.strip`: unlike Rust's ASCII white space, it includes the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(content: &[u8]) -> Option<&'static str> {
        match question(content) {
            Question::Answered(decision) => Some(decision.content_type.label),
            Question::Open(_) => None,
        }
    }

    #[test]
    fn short_files_need_no_model() {
        assert_eq!(label(b""), Some("empty"));
        assert_eq!(label(b"abc"), Some("txt"));
        assert_eq!(label(b"\xff\xfe"), Some("unknown"));
        assert_eq!(label(b"1234567"), Some("txt"));
        assert_eq!(label(b"12345678"), None);
        assert_eq!(label(&[b' '; 10_000]), Some("txt"));
        assert_eq!(label(b"       \x0b  1234567"), Some("txt"));
    }

    #[test]
    fn a_character_cut_at_the_block_is_not_text() {
        let mut content = vec![b'\n'; tables::BLOCK_SIZE - 1];
        content.extend("é".as_bytes());
        content.extend([b'\n'; 100]);
        assert_eq!(label(&content), Some("unknown"));
    }

    #[test]
    fn features_strip_and_pad() {
        let Question::Open(features) = question(b"\n\t hello world \x0b") else {
            panic!("the model must be asked");
        };
        assert_eq!(features.len(), 2048);
        let text: Vec<i32> = b"hello world \x0b".iter().map(|&b| i32::from(b)).collect();
        assert_eq!(features[..13], text[..]);
        assert_eq!(features[13], tables::PADDING);
        let stripped: Vec<i32> = b"\n\t hello world".iter().map(|&b| i32::from(b)).collect();
        assert_eq!(features[2048 - 14..], stripped[..]);
        assert_eq!(features[2048 - 15], tables::PADDING);
    }

    #[test]
    fn long_files_show_both_ends() {
        let content: Vec<u8> = (0..20_000_u32).map(|i| b'a' + (i % 26) as u8).collect();
        let Question::Open(features) = question(&content) else {
            panic!("the model must be asked");
        };
        assert_eq!(features.len(), 2048);
        assert_eq!(features[0], i32::from(content[0]));
        assert_eq!(features[1023], i32::from(content[1023]));
        assert_eq!(features[1024], i32::from(content[20_000 - 1024]));
        assert_eq!(features[2047], i32::from(content[19_999]));
    }

    fn scores_for(label: &str, score: f32) -> Vec<f32> {
        tables::OUTPUTS
            .iter()
            .map(|output| {
                if output.content_type.label == label {
                    score
                } else {
                    0.0
                }
            })
            .collect()
    }

    #[test]
    fn scores_need_their_threshold() {
        for (model, score, expected) in [
            ("png", 0.5, "png"),
            ("png", 0.49, "unknown"),
            ("python", 0.6, "python"),
            ("python", 0.4, "txt"),
            ("markdown", 0.74, "txt"),
            ("markdown", 0.76, "markdown"),
            ("crt", 0.9, "unknown"), // 0.9 in single precision is below the threshold.
        ] {
            let decision = decide(&scores_for(model, score)).unwrap();
            assert_eq!(decision.content_type.label, expected, "{model} {score}");
            assert!((decision.score - score).abs() < f32::EPSILON);
        }
    }

    #[test]
    fn another_model_is_noticed() {
        assert!(decide(&[0.5; 3]).is_err());
        assert!(decide(&vec![f32::NAN; tables::OUTPUTS.len()]).is_err());
    }
}
