//! Which texts are about the same: those whose vectors point the same way.
//!
//! The two groups that are most alike become one, as long as they are alike enough; how alike two groups are is the mean over
//! their members. The same vectors give the same groups, in the order in which their first members came.

/// The group of each vector, from 1.
#[must_use]
pub fn of(vectors: &[Vec<f32>]) -> Vec<u32> {
    let mut groups: Vec<Vec<usize>> = (0..vectors.len()).map(|at| vec![at]).collect();
    while let Some((one, other)) = nearest(&groups, vectors) {
        let moved = groups.remove(other);
        groups[one].extend(moved);
    }
    let mut of = vec![0; vectors.len()];
    for (number, group) in (1..).zip(&groups) {
        for &at in group {
            of[at] = number;
        }
    }
    of
}

/// The two groups that are most alike, the first one first, if any are alike enough.
fn nearest(groups: &[Vec<usize>], vectors: &[Vec<f32>]) -> Option<(usize, usize)> {
    let mut best = None;
    let mut most = ALIKE_MIN;
    for one in 0..groups.len() {
        for other in one + 1..groups.len() {
            let like = mean(&groups[one], &groups[other], vectors);
            if like > most {
                most = like;
                best = Some((one, other));
            }
        }
    }
    best
}

fn mean(one: &[usize], other: &[usize], vectors: &[Vec<f32>]) -> f32 {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    let (mut sum, mut count) = (0.0, 0.0);
    for (&a, &b) in pairs {
        sum += cosine(&vectors[a], &vectors[b]);
        count += 1.0;
    }
    sum / count
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    if lengths > 0.0 {
        dot(one, other) / lengths
    } else {
        0.0
    }
}

/// Less alike are two subjects.
const ALIKE_MIN: f32 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(vectors: &[[f32; 2]], wanted: &[u32]) {
        let vectors: Vec<Vec<f32>> = vectors.iter().map(|vector| vector.to_vec()).collect();
        assert_eq!(of(&vectors), wanted, "{vectors:?}");
    }

    #[test]
    fn what_points_the_same_way_is_one_group() {
        check(&[], &[]);
        check(&[[1.0, 0.0]], &[1]);
        check(&[[1.0, 0.0], [0.0, 1.0]], &[1, 2]);
        check(
            &[[1.0, 0.0], [0.0, 1.0], [9.0, 1.0], [0.1, 5.0]],
            &[1, 2, 1, 2],
        );
    }

    #[test]
    fn groups_are_compared_by_their_means() {
        // The third is like the second, and not like the first two together.
        check(&[[1.0, 0.0], [0.9, 0.436], [-0.7, 0.714]], &[1, 1, 2]);
    }

    #[test]
    fn a_vector_without_a_direction_is_alone() {
        check(
            &[[0.0, 0.0], [1.0, 0.0], [f32::NAN, 1.0], [1.0, 0.1]],
            &[1, 2, 3, 2],
        );
    }

    #[test]
    fn nothing_is_lost_and_numbers_follow_the_first_members() {
        let vectors: Vec<Vec<f32>> = (0..64_u8)
            .map(|at| {
                if at % 2 == 0 {
                    vec![1.0, 0.0]
                } else {
                    vec![0.0, 1.0]
                }
            })
            .collect();
        let wanted: Vec<u32> = (0..64).map(|at| at % 2 + 1).collect();
        assert_eq!(of(&vectors), wanted);
    }
}
