//! Every filter, the seed, and logits that are no numbers.

use super::*;

fn sampler(sampling: Sampling) -> Sampler {
    Sampler::new(sampling).unwrap()
}

/// The tokens that come up in many draws.
fn drawn(sampling: Sampling, logits: &[f32], past: &[u32], allowed: Option<&[u32]>) -> Vec<u32> {
    let mut sampler = sampler(sampling);
    let mut tokens: Vec<u32> = (0..500)
        .map(|_| sampler.sample(logits, past, allowed).unwrap())
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 2.9, -1.0];
const WARM: Sampling = Sampling {
    repetition_penalty: 1.0,
    penalty_tokens: 64,
    temperature: 2.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    seed: 7,
};

#[test]
fn without_temperature_the_most_likely_token_is_taken_and_the_first_of_equals() {
    let mut greedy = sampler(Sampling::default());
    assert_eq!(greedy.sample(&LOGITS, &[], None), Ok(1));
    assert_eq!(greedy.sample(&[1.0, 5.0, 5.0], &[], None), Ok(1));
    assert_eq!(greedy.sample(&LOGITS, &[], Some(&[4, 0, 4])), Ok(0));
}

#[test]
fn every_filter_keeps_what_it_says() {
    assert_eq!(drawn(WARM, &LOGITS, &[], None), [0, 1, 2, 3, 4]);
    assert_eq!(
        drawn(Sampling { top_k: 2, ..WARM }, &LOGITS, &[], None),
        [1, 3]
    );
    assert_eq!(
        drawn(Sampling { top_p: 0.3, ..WARM }, &LOGITS, &[], None),
        [1]
    );
    assert_eq!(
        drawn(Sampling { top_p: 0.6, ..WARM }, &LOGITS, &[], None),
        [1, 3]
    );
    assert_eq!(
        drawn(Sampling { min_p: 0.5, ..WARM }, &LOGITS, &[], None),
        [1, 2, 3]
    );
    assert_eq!(drawn(WARM, &LOGITS, &[], Some(&[4, 2])), [2, 4]);
}

#[test]
fn repetition_makes_tokens_less_likely_whatever_their_sign() {
    let penalty = Sampling {
        repetition_penalty: 2.0,
        ..Sampling::default()
    };
    assert_eq!(sampler(penalty).sample(&LOGITS, &[1], None), Ok(3));
    assert_eq!(sampler(penalty).sample(&[-1.0, -1.5], &[0], None), Ok(1));
    let short = Sampling {
        penalty_tokens: 1,
        ..penalty
    };
    assert_eq!(sampler(short).sample(&LOGITS, &[1, 0], None), Ok(1));
}

#[test]
fn one_seed_gives_one_sequence_and_frequencies_follow_the_probabilities() {
    let draw = |seed| {
        let mut sampler = sampler(Sampling {
            seed,
            temperature: 1.0,
            ..WARM
        });
        (0..4000)
            .map(|_| sampler.sample(&[0.0, 1.0], &[], None).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
    let ones = draw(3).iter().filter(|token| **token == 1).count();
    // e / (1 + e) of 4000 is 2924; four standard deviations are 112.
    assert!((2812..=3036).contains(&ones), "{ones}");
}

#[test]
fn what_is_no_number_is_never_chosen() {
    let mut greedy = sampler(Sampling::default());
    assert_eq!(
        greedy.sample(&[f32::NAN, 0.5, f32::INFINITY], &[], None),
        Ok(1)
    );
    assert_eq!(
        greedy.sample(&[f32::NAN], &[], None),
        Err(SampleError::NoNumber)
    );
    assert_eq!(
        greedy.sample(&LOGITS, &[], Some(&[99])),
        Err(SampleError::NothingAllowed)
    );
    assert_eq!(
        greedy.sample(&[], &[], None),
        Err(SampleError::NothingAllowed)
    );
}

#[test]
fn settings_out_of_range_are_named() {
    let refused = |sampling| Sampler::new(sampling).map(|_| ()).unwrap_err();
    let named = SampleError::Setting;
    assert_eq!(
        refused(Sampling {
            temperature: f32::NAN,
            ..WARM
        }),
        named("temperature")
    );
    assert_eq!(refused(Sampling { top_p: 0.0, ..WARM }), named("top_p"));
    assert_eq!(refused(Sampling { min_p: 1.1, ..WARM }), named("min_p"));
    assert_eq!(
        refused(Sampling {
            repetition_penalty: 0.0,
            ..WARM
        }),
        named("repetition_penalty")
    );
}

#[test]
fn a_position_stands_for_its_random_number() {
    let warm = Sampling {
        temperature: 1.0,
        ..WARM
    };
    let mut running = sampler(warm);
    let mut jumping = sampler(warm);
    for position in 0..200 {
        jumping.at(position);
        assert_eq!(
            jumping.sample(&LOGITS, &[], None),
            running.sample(&LOGITS, &[], None)
        );
    }
}

#[test]
fn many_equally_likely_tokens_are_cut_at_the_right_place() {
    // 1,000 of 2,000 tokens make half of the probability, far more than are looked at first.
    let tokens = drawn(Sampling { top_p: 0.5, ..WARM }, &[0.5; 2000], &[], None);
    assert!(tokens.iter().all(|token| *token < 1000), "{tokens:?}");
    assert!(tokens.len() > 300, "{}", tokens.len());
}

#[test]
fn the_likeliest_tokens_have_probabilities_that_sum_to_one() {
    let all = likeliest(&LOGITS, 100);
    let order: Vec<u32> = all.iter().map(|(token, _)| *token).collect();
    assert_eq!(order, [1, 3, 2, 0, 4]);
    let sum: f32 = all.iter().map(|(_, log)| log.exp()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    assert_eq!(likeliest(&LOGITS, 2), all[..2]);
    assert_eq!(likeliest(&LOGITS, 0), []);
    assert_eq!(likeliest(&[f32::NAN], 3), []);
}
