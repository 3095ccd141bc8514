//! From the model's output to vectors, as sentence-transformers does for all-MiniLM-L6-v2: the mean
//! over the pieces, scaled to length 1.

/// Numbers in a vector.
pub const WIDTH: usize = 384;

/// The mean of the pieces' vectors, scaled to length 1.
///
/// Every piece counts: a text is run alone, so nothing is padding.
///
/// # Errors
/// If `hidden` does not hold `pieces` vectors: another model is installed.
pub fn pool(hidden: &[f32], pieces: usize) -> Result<Vec<f32>, String> {
    if pieces == 0 || hidden.len() != pieces * WIDTH {
        return Err(format!(
            "the model returned {} numbers for {pieces} word pieces, not {WIDTH} each",
            hidden.len()
        ));
    }
    let mut sums = vec![0.0_f32; WIDTH];
    for piece in hidden.chunks_exact(WIDTH) {
        for (sum, value) in sums.iter_mut().zip(piece) {
            *sum += value;
        }
    }
    // The mean's divisor cancels out when the length becomes 1.
    let length = dot(&sums, &sums).sqrt().max(f32::MIN_POSITIVE);
    for sum in &mut sums {
        *sum /= length;
    }
    Ok(sums)
}

/// The cosine similarity of each vector to each other; the vectors have length 1.
#[must_use]
pub fn cosines(vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    vectors
        .iter()
        .map(|row| vectors.iter().map(|column| dot(row, column)).collect())
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_averages_and_scales() {
        let mut hidden = vec![0.0; 2 * WIDTH];
        hidden[0] = 2.0;
        hidden[WIDTH] = 4.0;
        hidden[WIDTH + 1] = 8.0;
        let vector = pool(&hidden, 2).unwrap();
        assert!((vector[0] - 0.6).abs() < 1e-6 && (vector[1] - 0.8).abs() < 1e-6);
        assert!((dot(&vector, &vector) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_zero_output_stays_finite() {
        let vector = pool(&vec![0.0; WIDTH], 1).unwrap();
        assert!(vector.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn another_model_is_noticed() {
        assert!(pool(&[0.0; 10], 1).is_err());
        assert!(pool(&[], 0).is_err());
    }

    #[test]
    fn cosines_are_symmetric_with_ones() {
        let all = cosines(&[vec![1.0, 0.0], vec![0.6, 0.8]]);
        assert!((all[0][0] - 1.0).abs() < 1e-6 && (all[1][1] - 1.0).abs() < 1e-6);
        assert!((all[0][1] - 0.6).abs() < 1e-6 && (all[1][0] - 0.6).abs() < 1e-6);
    }
}
