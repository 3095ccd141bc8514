//! `ocr`: reads the text in a picture, by PaddleOCR's models.
//!
//! The interface is below. [`page`] tells which way up a page is, [`detect`] finds lines by the geometry
//! in [`shapes`], [`cut`] straightens them, [`recognise`] reads them.

pub mod cut;
pub mod detect;
pub mod page;
pub mod recognise;
pub mod shapes;

/// Reads the text in a picture.
///
/// PaddleOCR's models (PP-OCRv4, mobile, Apache-2.0) find the lines, turn those that are upside down and read
/// them: Chinese and English, digits and common marks; a further model tells which way up the page is. The
/// lines equal those of the `rapidocr-onnxruntime` Python package. PNG, JPEG, WebP and BMP of at most 24
/// million pixels; a picture with sides above 2,000 pixels is reduced first. Handwriting, single
/// letters and very small print are often missed.
#[rialto_sdk::service]
pub mod ocr {
    use crate::{cut, detect, page, recognise};
    use picture::{Alpha, Picture};
    use rialto_sdk::tensor::{Model, Tensor};

    /// A place in the picture as it is shown, from the upper left corner, in pixels.
    pub struct Point {
        /// To the right.
        pub x: f32,
        /// Downwards.
        pub y: f32,
    }

    /// A line of text.
    pub struct Line {
        /// What it says.
        pub text: String,
        /// How sure the model is of its characters, from 0 to 1.
        pub confidence: f32,
        /// Its four corners: on an upright page, upper left, upper right, lower right, lower left.
        pub corners: Vec<Point>,
    }

    /// What was read.
    pub struct Page {
        /// The lines, from top to bottom of the upright page.
        pub lines: Vec<Line>,
        /// By how much the page is turned clockwise: 0, 90, 180 or 270 degrees.
        pub rotation: u16,
        /// The width of the picture in pixels, turned as its metadata says.
        pub width: u32,
        /// The height of the picture in pixels, turned as its metadata says.
        pub height: u32,
    }

    /// How to read. What is left out is as usual.
    pub struct Options {
        /// By how much the page is known to be turned clockwise: 0, 90, 180 or 270 degrees. If left out, the
        /// model decides, and the page counts as upright unless the model is sure.
        pub rotation: Option<u16>,
        /// Lines of which the model is less sure are left out, from 0 to 1; 0.5 if left out.
        pub min_confidence: Option<f32>,
    }

    /// Finds and reads every line of text in a picture.
    pub fn read(
        /// The file's bytes.
        content: Vec<u8>,
        /// How to read; as usual if left out.
        options: Option<Options>,
    ) -> Result<Page, String> {
        let least = recognise::least(options.as_ref().and_then(|o| o.min_confidence))?;
        let known = page::known(options.and_then(|o| o.rotation))?;
        let shown = picture::decode(&content, page::PIXELS_MAX, Alpha::OnWhite)?;
        drop(content);
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let (width, height) = (side(shown.width()), side(shown.height()));
        let turned = match known {
            Some(turned) => turned,
            None => page::turned(&run("orientation", page::SHAPE, &page::input(&shown))?)?,
        };
        let frame = page::Frame::new(turned, shown.width(), shown.height());
        let reduced = detect::reduce(turned.upright(shown));
        let boxes = find(&reduced)?;
        let mut lines = Vec::new();
        if !boxes.is_empty() {
            let reader = Reader::open()?;
            for corners in boxes {
                let Some(strip) = cut::strip(&reduced.picture, &corners) else {
                    continue;
                };
                let (text, confidence) = reader.read(strip)?;
                if confidence >= least {
                    lines.push(Line {
                        text,
                        confidence,
                        corners: corners
                            .map(|corner| frame.shown(reduced.original(corner)))
                            .map(|[x, y]| Point { x, y })
                            .into(),
                    });
                }
            }
        }
        Ok(Page {
            lines,
            rotation: turned.degrees(),
            width,
            height,
        })
    }

    /// The corners of each line, in reading order.
    fn find(reduced: &detect::Reduced) -> Result<Vec<detect::Corners>, String> {
        let (shape, input) = detect::input(&reduced.picture);
        let map = run("detect", shape, &input)?;
        detect::lines(&map, shape, &reduced.picture)
    }

    /// Runs a model once, with one input and one output. Each model is used in one place, so that none is
    /// opened twice a call.
    fn run(name: &str, shape: [u32; 4], input: &[f32]) -> Result<Vec<f32>, String> {
        run_opened(&Model::open(name)?, shape, input)
    }

    fn run_opened(model: &Model, shape: [u32; 4], input: &[f32]) -> Result<Vec<f32>, String> {
        let (inputs, outputs) = (model.inputs(), model.outputs());
        let (Some(from), Some(to)) = (inputs.first(), outputs.first()) else {
            return Err("the model has no input or no output".to_owned());
        };
        let bytes = bytemuck::cast_slice(input);
        let input = Tensor::from_bytes(rialto_sdk::tensor::Dtype::F32, &shape, bytes)?;
        Ok(model.run_one(&[(&from.name, &input)], &to.name)?.to_f32()?)
    }

    /// The models that look at each line.
    struct Reader {
        classify: Model,
        recognise: Model,
    }

    impl Reader {
        fn open() -> Result<Self, String> {
            Ok(Self {
                classify: Model::open("classify")?,
                recognise: Model::open("recognise")?,
            })
        }

        /// The text of a line and how sure it is.
        fn read(&self, mut strip: Picture) -> Result<(String, f32), String> {
            let input = recognise::input(&strip, recognise::SIDE_WIDTH);
            let sides = run_opened(&self.classify, recognise::SIDE_SHAPE, &input)?;
            if recognise::is_upside_down(&sides)? {
                strip = strip.turned_over();
            }
            let width = recognise::width(&strip);
            let input = recognise::input(&strip, width);
            let scores = run_opened(&self.recognise, recognise::shape(width), &input)?;
            recognise::decode(&scores)
        }
    }
}
