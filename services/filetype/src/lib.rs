//! `filetype`: what kind of file are these bytes?
//!
//! The interface is below; what the model sees and how its scores become a verdict is in [`magika`].

pub mod magika;

/// What kind of file are these bytes?
///
/// Google's magika model, standard_v3_3: 214 kinds of content, in high-confidence mode.
#[rialto_sdk::service]
pub mod filetype {
    use crate::magika::{self, Decision, Question};
    use rialto_sdk::tensor::{Model, Tensor};

    /// The verdict on one file.
    pub struct Verdict {
        /// Short name of the content type, for example `png`; `txt` or `unknown` where the model is
        /// not sure enough, `empty` for no bytes at all.
        pub label: String,
        /// For example `image/png`.
        pub mime_type: String,
        /// For example `image`, `code`, `document`, `archive`, `executable`.
        pub group: String,
        /// For people, for example `PNG image data`.
        pub description: String,
        /// Usual file name extensions, without the dot; the most usual first.
        pub extensions: Vec<String>,
        /// Whether the content is text.
        pub is_text: bool,
        /// The model's confidence, from 0 to 1; 1 where a rule decided without the model.
        pub score: f32,
    }

    /// Identifies the content of a file. Its name is not needed, and not asked for.
    pub fn identify(
        /// The file's bytes. The model sees the first and the last KiB.
        content: Vec<u8>,
    ) -> Result<Verdict, String> {
        Ok(verdict(match magika::question(&content) {
            Question::Answered(decision) => decision,
            Question::Open(features) => {
                let model = Model::open("magika")?;
                let bytes = Tensor::from_i32(&magika::FEATURES_SHAPE, &features)?;
                let scores = model.run_one(&[("bytes", &bytes)], "target_label")?;
                magika::decide(&scores.to_f32()?)?
            }
        }))
    }

    fn verdict(decision: Decision) -> Verdict {
        let Decision {
            content_type,
            score,
        } = decision;
        Verdict {
            label: content_type.label.to_owned(),
            mime_type: content_type.mime_type.to_owned(),
            group: content_type.group.to_owned(),
            description: content_type.description.to_owned(),
            extensions: content_type
                .extensions
                .iter()
                .map(|&e| e.to_owned())
                .collect(),
            is_text: content_type.is_text,
            score,
        }
    }
}
