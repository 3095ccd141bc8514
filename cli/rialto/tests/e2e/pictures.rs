//! What the services that look answer through HTTP equals what the models' own Python packages make of the
//! same pictures: pages every way up, scans, and photographs without text.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::installed::Installed;
use crate::services::{body_of, call, list, number, path_text, paying_client, reference, text};

#[tokio::test]
async fn ocr_equals_the_rapidocr_package() -> Result<()> {
    let installed = Installed::new(&["ocr"], "")?;
    let folder = installed.dir().join("pictures");
    let samples = reference("picture.py", &["ocr", path_text(&folder)?]).await?;
    let mesh = installed.start(&[])?;
    let client = paying_client(&mesh)?;
    let mut seen = Seen::default();
    let mut turned = Vec::new();
    for sample in list(&samples)? {
        let (file, expected) = (text(&sample["file"])?, &sample["expected"]);
        let answer = call(&client, "ocr", "read", &body_of(sample)?).await?;
        for field in ["rotation", "width", "height"] {
            ensure!(
                answer[field] == expected[field],
                "{field} of {file}: {answer}, the reference says {expected}"
            );
        }
        turned.push(answer["rotation"].as_u64());
        same_lines(file, &answer, expected, &mut seen)?;
    }
    for degrees in [0, 90, 180, 270] {
        ensure!(turned.contains(&Some(degrees)), "no page at {degrees}");
    }
    // The reference fills lines up to the longest of six, the service to one of few widths: the model may
    // then see one faint mark more or less.
    ensure!(
        seen.lines >= 60 && seen.different <= 2,
        "{seen:?}: too few lines, or too many that differ"
    );
    mesh.stop()
}

#[tokio::test]
async fn moderate_image_equals_the_open_nsfw_package() -> Result<()> {
    let installed = Installed::new(&["moderate-image"], "")?;
    let folder = installed.dir().join("pictures");
    let samples = reference("picture.py", &["moderate", path_text(&folder)?]).await?;
    let mesh = installed.start(&[])?;
    let client = paying_client(&mesh)?;
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for sample in list(&samples)? {
        let answer = call(&client, "moderate-image", "moderate", &body_of(sample)?).await?;
        let (found, expected) = (number(&answer["nsfw"])?, number(&sample["expected"])?);
        // JPEG's losses are rounded differently by each library that writes and reads it.
        ensure!(
            (found - expected).abs() <= 0.02,
            "{}: {found}, the reference says {expected}",
            sample["file"]
        );
        least = least.min(found);
        most = most.max(found);
    }
    ensure!(most - least > 0.1, "all alike, from {least} to {most}");
    mesh.stop()
}

/// Lines of all pictures, and those that differ in a character.
#[derive(Debug, Default)]
struct Seen {
    lines: usize,
    different: usize,
}

fn same_lines(file: &str, answer: &Value, expected: &Value, seen: &mut Seen) -> Result<()> {
    let (found, wanted) = (list(&answer["lines"])?, list(&expected["lines"])?);
    ensure!(
        found.len() == wanted.len(),
        "{file}: {answer}, the reference says {expected}"
    );
    let allowed = 3.0 + number(&answer["width"])? / 500.0;
    for (found, wanted) in found.iter().zip(wanted) {
        seen.lines += 1;
        let (letters, expected) = (letters(&found["text"])?, letters(&wanted["text"])?);
        if letters != expected {
            seen.different += 1;
            let longer = letters.len().max(expected.len());
            ensure!(
                longer - common(&letters, &expected) <= 1,
                "{file}: {found}, the reference says {wanted}"
            );
        }
        for (corner, expected) in list(&found["corners"])?
            .iter()
            .zip(list(&wanted["corners"])?)
        {
            let apart = [("x", 0), ("y", 1)].map(|(axis, index)| {
                Ok::<_, anyhow::Error>((number(&corner[axis])? - number(&expected[index])?).abs())
            });
            for apart in apart {
                ensure!(
                    apart? <= allowed,
                    "{file}: {found}, the reference says {wanted}"
                );
            }
        }
        let apart = (number(&found["confidence"])? - number(&wanted["confidence"])?).abs();
        ensure!(apart <= 0.1, "{file}: {found}, the reference says {wanted}");
    }
    Ok(())
}

/// A line's characters without its spaces, about which the model is least sure.
fn letters(value: &Value) -> Result<Vec<char>> {
    Ok(text(value)?
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect())
}

/// How many characters two lines share from the start, and then from the end.
fn common(a: &[char], b: &[char]) -> usize {
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let end = a[start..]
        .iter()
        .rev()
        .zip(b[start..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    start + end
}
