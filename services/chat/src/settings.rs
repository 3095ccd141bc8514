//! What the caller asks for, checked before any work is done.

use rialto_sdk::generation;

use crate::chat::Options;

/// How to answer.
#[derive(Debug, PartialEq)]
pub struct Settings {
    /// The most tokens of the answer.
    pub tokens_max: u32,
    /// How they are chosen.
    pub options: generation::Options,
}

impl Settings {
    /// Checks what the caller gave and fills in the rest.
    ///
    /// # Errors
    /// A text that names the option, its value and its range.
    pub fn new(options: Option<&Options>) -> Result<Self, String> {
        let temperature = options.and_then(|options| options.temperature);
        let top_p = options.and_then(|options| options.top_p);
        let penalty = options.and_then(|options| options.repetition_penalty);
        let tokens_max = options.and_then(|options| options.max_tokens);
        let tokens_max = tokens_max.unwrap_or(TOKENS_USUAL);
        if !(1..=TOKENS_MAX).contains(&tokens_max) {
            return Err(format!(
                "`max_tokens` is {tokens_max}, not 1 to {TOKENS_MAX}"
            ));
        }
        let top_p = within("top_p", top_p, 0.9, 0.0, 1.0)?;
        if top_p == 0.0 {
            return Err("`top_p` is 0: give more, or `temperature` 0".to_owned());
        }
        let stop = options.and_then(|options| options.stop.clone());
        let stop = stop.unwrap_or_default();
        let sized = |stop: &String| (1..=STOP_BYTES_MAX).contains(&stop.len());
        if stop.len() > STOPS_MAX || !stop.iter().all(sized) {
            return Err(format!(
                "`stop` takes at most {STOPS_MAX} texts of 1 to {STOP_BYTES_MAX} bytes"
            ));
        }
        Ok(Self {
            tokens_max,
            options: generation::Options {
                temperature: within("temperature", temperature, 0.2, 0.0, 2.0)?,
                top_p,
                top_k: options.and_then(|options| options.top_k).unwrap_or(0),
                repetition_penalty: within("repetition_penalty", penalty, 1.0, 0.5, 2.0)?,
                seed: options.and_then(|options| options.seed).unwrap_or(0),
                stop,
                ..generation::Options::default()
            },
        })
    }
}

fn within(
    name: &str,
    given: Option<f64>,
    usual: f64,
    least: f64,
    most: f64,
) -> Result<f32, String> {
    let value = given.unwrap_or(usual);
    if !(least..=most).contains(&value) {
        return Err(format!("`{name}` is {value}, not {least} to {most}"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "small numbers; the engine computes in f32"
    )]
    Ok(value as f32)
}

const TOKENS_USUAL: u32 = 256;
const TOKENS_MAX: u32 = 2048;
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Options {
        Options {
            max_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            repetition_penalty: None,
            seed: None,
            stop: None,
        }
    }

    #[test]
    fn what_is_left_out_is_the_usual() {
        let usual = Settings::new(None).unwrap();
        assert_eq!(Settings::new(Some(&given())), Ok(usual));
        let settings = Settings::new(None).unwrap();
        assert_eq!((settings.tokens_max, settings.options.seed), (256, 0));
        assert_eq!(
            (settings.options.temperature, settings.options.top_p),
            (0.2, 0.9)
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let check = |change: &dyn Fn(&mut Options), name: &str| {
            let mut options = given();
            change(&mut options);
            let error = Settings::new(Some(&options)).unwrap_err();
            assert!(error.contains(name), "{error}");
        };
        check(&|options| options.max_tokens = Some(0), "`max_tokens` is 0");
        check(&|options| options.max_tokens = Some(2049), "1 to 2048");
        check(
            &|options| options.temperature = Some(f64::NAN),
            "`temperature`",
        );
        check(&|options| options.temperature = Some(-0.1), "`temperature`");
        check(&|options| options.top_p = Some(0.0), "`top_p`");
        check(&|options| options.top_p = Some(1.1), "`top_p`");
        check(
            &|options| options.repetition_penalty = Some(0.0),
            "`repetition_penalty`",
        );
        check(
            &|options| options.stop = Some(vec![String::new()]),
            "`stop`",
        );
        check(
            &|options| options.stop = Some(vec!["x".to_owned(); 5]),
            "`stop`",
        );
    }
}
