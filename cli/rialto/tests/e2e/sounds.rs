//! What the services that listen answer through HTTP equals what the models' own Python packages make of
//! the same files: real speech in several formats, and what is no speech.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::installed::Installed;
use crate::services::{
    body_of, bytes, call, list, number, path_text, paying_client, reference, text,
};

#[tokio::test]
async fn speech_activity_equals_the_silero_package() -> Result<()> {
    let installed = Installed::new(&["speech-activity"], "")?;
    let folder = installed.dir().join("sounds");
    let samples = reference("sound.py", &["speech", path_text(&folder)?]).await?;
    let mesh = installed.start(&[])?;
    let client = paying_client(&mesh)?;
    let (mut heard, mut silent) = (0, 0);
    for sample in list(&samples)? {
        let (file, expected) = (text(&sample["file"])?, &sample["expected"]);
        // A window's probability may cross the threshold only where the samples differ at all.
        let exact = sample["exact"] == true;
        let body = body_of(sample)?;
        let answer = call(&client, "speech-activity", "detect", &body).await?;
        let what = format!("{file} {}", sample["options"]);
        same_segments(&what, &answer, expected, if exact { 1e-9 } else { WINDOW })?;
        match list(&answer["segments"])?.len() {
            0 => silent += 1,
            _ => heard += 1,
        }
        if sample.get("body").is_none() {
            let answer = call(&client, "speech-activity", "probabilities", &body).await?;
            let (answer, expected) = (list(&answer)?, list(&expected["probabilities"])?);
            ensure!(answer.len() == expected.len(), "{file}: {}", answer.len());
            for (answer, expected) in answer.iter().zip(expected).filter(|_| exact) {
                let apart = (number(answer)? - number(expected)?).abs();
                ensure!(apart <= 1e-4, "{file}: {answer}, not {expected}");
            }
        }
    }
    ensure!(
        heard >= 14 && silent >= 3,
        "{heard} with speech, {silent} without"
    );
    mesh.stop()
}

#[tokio::test]
async fn transcribe_notes_equals_the_basic_pitch_package() -> Result<()> {
    let installed = Installed::new(&["transcribe-notes"], "")?;
    let folder = installed.dir().join("sounds");
    let samples = reference("sound.py", &["notes", path_text(&folder)?]).await?;
    let mesh = installed.start(&[])?;
    let client = paying_client(&mesh)?;
    let (mut heard, mut bent) = (0, 0);
    let (mut written, mut wanted) = (Vec::new(), Vec::new());
    for sample in list(&samples)? {
        let expected = &sample["expected"];
        let what = format!("{} {}", sample["file"], sample["options"]);
        let answer = call(&client, "transcribe-notes", "transcribe", &body_of(sample)?).await?;
        if sample["exact"] != true {
            same_clear_notes(&what, &answer, expected)?;
            continue;
        }
        same_notes(&what, &answer, expected)?;
        heard += list(&answer["notes"])?.len();
        bent += list(&expected["midi"]["bends"])?.len();
        let file = folder.join(format!("{}.mid", written.len()));
        std::fs::write(&file, bytes(&answer["midi"])?)?;
        written.push(path_text(&file)?.to_owned());
        wanted.push((what, &expected["midi"]));
    }
    ensure!(heard >= 60 && bent >= 100, "{heard} notes, {bent} bends");

    let mut arguments = vec!["midi"];
    arguments.extend(written.iter().map(String::as_str));
    let read = reference("sound.py", &arguments).await?;
    for ((what, wanted), found) in wanted.iter().zip(list(&read)?) {
        same_midi(what, found, wanted)?;
    }
    mesh.stop()
}

fn same_notes(what: &str, answer: &Value, expected: &Value) -> Result<()> {
    let (found, wanted) = (list(&answer["notes"])?, list(&expected["notes"])?);
    let mut same = found.len() == wanted.len();
    for (found, wanted) in found.iter().zip(wanted) {
        for (field, tolerance) in [("start", 1e-9), ("end", 1e-9), ("amplitude", 1e-3)] {
            same &= (number(&found[field])? - number(&wanted[field])?).abs() <= tolerance;
        }
        same &= found["pitch"] == wanted["pitch"] && found["bends"] == wanted["bends"];
    }
    ensure!(same, "{what}: {answer}, the reference says {expected}");
    Ok(())
}

/// Another resampler or decoder changes the faintest notes only.
fn same_clear_notes(what: &str, answer: &Value, expected: &Value) -> Result<()> {
    for (some, others) in [(answer, expected), (expected, answer)] {
        for note in list(&some["notes"])? {
            if number(&note["amplitude"])? < CLEAR {
                continue;
            }
            let mut there = false;
            for other in list(&others["notes"])? {
                let apart = (number(&note["start"])? - number(&other["start"])?).abs();
                there |= note["pitch"] == other["pitch"] && apart <= 0.03;
            }
            ensure!(there, "{what}: {note} is missing among {others}");
        }
    }
    Ok(())
}

/// Times are written in ticks, of which there are at least 330 a second.
fn same_midi(what: &str, found: &Value, wanted: &Value) -> Result<()> {
    let mut same = found["program"] == wanted["program"];
    for field in ["notes", "bends"] {
        let (found, wanted) = (list(&found[field])?, list(&wanted[field])?);
        same &= found.len() == wanted.len();
        for (found, wanted) in found.iter().zip(wanted) {
            for (found, wanted) in list(found)?.iter().zip(list(wanted)?) {
                same &= (number(found)? - number(wanted)?).abs() <= 1.0 / 300.0;
            }
        }
    }
    ensure!(same, "{what}: {found}, the reference says {wanted}");
    Ok(())
}

fn same_segments(what: &str, answer: &Value, expected: &Value, tolerance: f64) -> Result<()> {
    let (found, wanted) = (list(&answer["segments"])?, list(&expected["segments"])?);
    let close = |found: &Value, wanted: &Value| -> Result<bool> {
        Ok((number(found)? - number(wanted)?).abs() <= tolerance)
    };
    let mut same = found.len() == wanted.len();
    for (found, wanted) in found.iter().zip(wanted) {
        same &= close(&found["start"], &wanted[0])? && close(&found["end"], &wanted[1])?;
    }
    same &= (number(&answer["duration"])? - number(&expected["duration"])?).abs() <= tolerance;
    ensure!(same, "{what}: {answer}, the reference says {expected}");
    Ok(())
}

/// One window of the model, in seconds, and a little.
const WINDOW: f64 = 0.033;

/// The amplitude from which a note is heard whatever the resampler.
const CLEAR: f64 = 0.45;
