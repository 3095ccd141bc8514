//! Operands and wanted outputs against what a model declares: the same checks for every engine.

use crate::{Port, RunError, Tensor};

/// The operands in the order of `inputs`, each checked against its input.
pub(crate) fn in_order(
    inputs: &[Port],
    given: Vec<(String, Tensor)>,
) -> Result<Vec<Tensor>, RunError> {
    let mut operands: Vec<Option<Tensor>> = vec![None; inputs.len()];
    for (name, tensor) in given {
        let place = inputs.iter().position(|port| port.name == name);
        let found = place.and_then(|place| inputs.get(place).zip(operands.get_mut(place)));
        let Some((port, operand)) = found else {
            let known = names(inputs);
            return Err(RunError::UnknownInput { name, known });
        };
        check(port, &tensor)?;
        if operand.replace(tensor).is_some() {
            return Err(RunError::RepeatedInput { name });
        }
    }
    let missing = |port: &Port| RunError::MissingInput {
        name: port.name.clone(),
    };
    let named = inputs.iter().zip(operands);
    named
        .map(|(port, operand)| operand.ok_or_else(|| missing(port)))
        .collect()
}

/// The places of the wanted outputs.
pub(crate) fn wanted(outputs: &[Port], wanted: &[String]) -> Result<Vec<usize>, RunError> {
    let place = |name: &String| {
        let place = outputs.iter().position(|port| port.name == *name);
        place.ok_or_else(|| RunError::UnknownOutput {
            name: name.clone(),
            known: names(outputs),
        })
    };
    wanted.iter().map(place).collect()
}

/// Inputs and their shapes, for a message.
pub(crate) fn shapes<'a>(named: impl IntoIterator<Item = (&'a str, &'a [u32])>) -> String {
    let shapes: Vec<String> = named
        .into_iter()
        .map(|(name, shape)| format!("`{name}` {shape:?}"))
        .collect();
    shapes.join(", ")
}

fn check(port: &Port, tensor: &Tensor) -> Result<(), RunError> {
    if tensor.element() != port.element {
        let (expected, found) = (port.element, tensor.element());
        return Err(RunError::Element {
            name: port.name.clone(),
            expected,
            found,
        });
    }
    let mut axes = port.shape.iter().zip(tensor.shape());
    let fits = port.shape.len() == tensor.shape().len()
        && axes.all(|(expected, found)| expected.is_none_or(|expected| expected == *found));
    if fits {
        return Ok(());
    }
    let extent = |extent: &Option<u32>| extent.map_or("?".to_owned(), |extent| extent.to_string());
    let expected: Vec<String> = port.shape.iter().map(extent).collect();
    Err(RunError::Shape {
        name: port.name.clone(),
        expected: format!("[{}]", expected.join(", ")),
        found: tensor.shape().to_vec(),
    })
}

fn names(ports: &[Port]) -> String {
    let names: Vec<String> = ports
        .iter()
        .map(|port| format!("`{}`", port.name))
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
