//! `embed`: sentence embeddings with MiniLM-L6, and how similar sentences are.
//!
//! The interface is below; [`tokenizer`] makes the model's input and [`vectors`] its output.

pub mod tokenizer;
pub mod vectors;

mod limits;

/// Sentence embeddings: texts with close meanings get close vectors.
///
/// The model is all-MiniLM-L6-v2 with int8 weights. Each text is lower-cased, split into word pieces
/// and cut after 256 of them (about 200 English words); its vector is the mean of the pieces' vectors,
/// scaled to length 1. At most 64 texts of at most 32 KiB each a call.
#[rialto_sdk::service]
pub mod embed {
    use crate::{limits, tokenizer, vectors};
    use rialto_sdk::tensor::{Model, Tensor};

    /// One vector of 384 numbers for each text, in the order of the texts.
    pub fn embed(
        /// The texts, in any language; the model knows English best.
        texts: Vec<String>,
    ) -> Result<Vec<Vec<f32>>, String> {
        limits::check(&texts)?;
        let model = Model::open("minilm")?;
        texts.iter().map(|text| vector(&model, text)).collect()
    }

    /// The cosine similarity of each text to each other: row `i`, column `j` compares text `i` with
    /// text `j`. 1 means the same, 0 unrelated.
    pub fn similarity(
        /// The texts to compare.
        texts: Vec<String>,
    ) -> Result<Vec<Vec<f32>>, String> {
        Ok(vectors::cosines(&embed(texts)?))
    }

    /// One run a text: the model quantises its activations over the whole input, so in a batch a
    /// text's vector would depend on its neighbours.
    fn vector(model: &Model, text: &str) -> Result<Vec<f32>, String> {
        let ids = tokenizer::encode(text);
        let shape = [1, u32::try_from(ids.len()).unwrap_or(u32::MAX)];
        let output = model.run_one(
            &[
                ("input_ids", &Tensor::from_i64(&shape, &ids)?),
                (
                    "attention_mask",
                    &Tensor::from_i64(&shape, &vec![1; ids.len()])?,
                ),
                (
                    "token_type_ids",
                    &Tensor::from_i64(&shape, &vec![0; ids.len()])?,
                ),
            ],
            "last_hidden_state",
        )?;
        vectors::pool(&output.to_f32()?, ids.len())
    }
}
