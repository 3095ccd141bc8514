//! Chooses the next token out of logits.
//!
//! With one seed the same logits give the same tokens, on every machine: the random numbers and the
//! order of all sums are fixed.

use std::cmp::Ordering;

/// How tokens are chosen. The filters apply in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Makes tokens among the last [`Self::penalty_tokens`] less likely: positive logits are divided
    /// by this, negative ones multiplied. 1 changes nothing.
    pub repetition_penalty: f32,
    /// How far back repetitions count.
    pub penalty_tokens: usize,
    /// Divides the logits. 0 takes the most likely token.
    pub temperature: f32,
    /// Only so many of the most likely tokens; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that have this much probability together; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this times as likely as the most likely one; 0 for all.
    pub min_p: f32,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            penalty_tokens: 64,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 0,
        }
    }
}

/// Why no token was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// A setting is not a number or outside its range.
    #[error("`{0}` is not within its range")]
    Setting(&'static str),
    /// The mask allows no token of the vocabulary.
    #[error("no token is allowed")]
    NothingAllowed,
    /// The model gave no number: its weights are damaged.
    #[error("the model's logits are no numbers")]
    NoNumber,
}

/// Chooses tokens.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    state: u64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: u32,
    logit: f32,
}

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// [`SampleError::Setting`] with the field's name.
    pub fn new(sampling: Sampling) -> Result<Self, SampleError> {
        let check = |fits: bool, name| {
            if fits {
                Ok(())
            } else {
                Err(SampleError::Setting(name))
            }
        };
        let s = &sampling;
        check(
            (0.01..=100.0).contains(&s.repetition_penalty),
            "repetition_penalty",
        )?;
        check((0.0..=100.0).contains(&s.temperature), "temperature")?;
        check(s.top_p > 0.0 && s.top_p <= 1.0, "top_p")?;
        check((0.0..=1.0).contains(&s.min_p), "min_p")?;
        Ok(Self {
            sampling,
            state: sampling.seed,
        })
    }

    /// Chooses a token. `past` is what the session has seen; `allowed`, where given, are the only
    /// tokens that may be chosen, in any order.
    ///
    /// # Errors
    /// [`SampleError`].
    pub fn sample(
        &mut self,
        logits: &[f32],
        past: &[u32],
        allowed: Option<&[u32]>,
    ) -> Result<u32, SampleError> {
        let mut candidates = self.candidates(logits, past, allowed)?;
        if self.sampling.temperature == 0.0 {
            let best = candidates.iter().copied().min_by(by_rank);
            return best.map(|best| best.token).ok_or(SampleError::NoNumber);
        }
        self.keep_most_likely(&mut candidates);
        let most = candidates.first().map_or(0.0, |first| first.logit);
        let temperature = f64::from(self.sampling.temperature);
        let weigh = |c: &Candidate| ((f64::from(c.logit) - f64::from(most)) / temperature).exp();
        let mut weights: Vec<f64> = candidates.iter().map(weigh).collect();
        self.cut(&mut weights);
        let mut left = self.random() * weights.iter().sum::<f64>();
        let mut chosen = candidates.first();
        for (candidate, weight) in candidates.iter().zip(&weights) {
            chosen = Some(candidate);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        chosen
            .map(|chosen| chosen.token)
            .ok_or(SampleError::NoNumber)
    }

    /// Allowed tokens whose logits are numbers, repetitions penalised.
    fn candidates(
        &self,
        logits: &[f32],
        past: &[u32],
        allowed: Option<&[u32]>,
    ) -> Result<Vec<Candidate>, SampleError> {
        let at = |token: u32| logits.get(usize::try_from(token).ok()?).copied();
        let mut candidates: Vec<Candidate> = match allowed {
            None => (0..)
                .zip(logits)
                .map(|(token, logit)| Candidate {
                    token,
                    logit: *logit,
                })
                .collect(),
            Some(tokens) => {
                let mut tokens = tokens.to_vec();
                tokens.sort_unstable();
                tokens.dedup();
                let candidate = |token| at(token).map(|logit| Candidate { token, logit });
                tokens.into_iter().filter_map(candidate).collect()
            }
        };
        if candidates.is_empty() {
            return Err(SampleError::NothingAllowed);
        }
        let penalty = self.sampling.repetition_penalty;
        if penalty != 1.0 {
            let from = past.len().saturating_sub(self.sampling.penalty_tokens);
            let mut recent = past.get(from..).unwrap_or_default().to_vec();
            recent.sort_unstable();
            for candidate in &mut candidates {
                if recent.binary_search(&candidate.token).is_ok() {
                    let logit = candidate.logit;
                    candidate.logit = if logit > 0.0 {
                        logit / penalty
                    } else {
                        logit * penalty
                    };
                }
            }
        }
        candidates.retain(|candidate| candidate.logit.is_finite());
        if candidates.is_empty() {
            return Err(SampleError::NoNumber);
        }
        Ok(candidates)
    }

    /// Sorts, most likely first, and drops all but the first `top_k`.
    fn keep_most_likely(&self, candidates: &mut Vec<Candidate>) {
        let keep = self.sampling.top_k;
        if keep > 0 && keep < candidates.len() {
            candidates.select_nth_unstable_by(keep, by_rank);
            candidates.truncate(keep);
        }
        candidates.sort_unstable_by(by_rank);
    }

    /// Drops weights, which are sorted, past `top_p` and below `min_p`. One always stays.
    fn cut(&self, weights: &mut Vec<f64>) {
        let wanted = weights.iter().sum::<f64>() * f64::from(self.sampling.top_p);
        let mut sum = 0.0;
        let enough = weights.iter().position(|weight| {
            sum += weight;
            sum >= wanted
        });
        if self.sampling.top_p < 1.0
            && let Some(last) = enough
        {
            weights.truncate(last + 1);
        }
        let least = weights.first().copied().unwrap_or(0.0) * f64::from(self.sampling.min_p);
        let likely = weights.partition_point(|weight| *weight >= least);
        weights.truncate(likely.max(1));
    }

    /// The next random number, from 0 up to 1: SplitMix64, its upper 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn random(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The more likely first; of equals, the lower token.
fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

#[cfg(test)]
mod tests;
