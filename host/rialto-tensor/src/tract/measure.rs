//! How much memory and arithmetic a graph needs, before it runs.
//!
//! Non-goals: exactness. tract's scratch buffers are not counted; they are small beside tensors.

use tract_onnx::{
    prelude::{DatumType, TypedModel, TypedNode},
    tract_core::{
        internal::{ToDim, TypedFact},
        ops::array::{DynTile, Tile},
    },
};

use super::{Config, graph::Refusal, graph::malformed};

/// Refuses a graph whose shapes are not all known, or whose run would exceed a limit.
pub(super) fn check(model: &TypedModel, config: &Config) -> Result<(), Refusal> {
    let order = model.eval_order().map_err(malformed)?;
    let mut last_use = vec![0; model.nodes().len()];
    for (step, id) in order.iter().enumerate() {
        for input in &model.node(*id).inputs {
            last_use[input.node] = step;
        }
    }
    for output in &model.outputs {
        last_use[output.node] = order.len();
    }
    for node in model.nodes() {
        check_repeats(model, node, config)?;
    }
    let (mut live, mut peak, mut work) = (0, 0, 0);
    let mut ending: Vec<Vec<u64>> = vec![Vec::new(); order.len() + 1];
    for (step, id) in order.iter().enumerate() {
        let node = model.node(*id);
        let bytes = output_bytes(node, config)?;
        live = sum(live, bytes)?;
        peak = peak.max(live);
        ending[last_use[*id].max(step)].push(bytes);
        for bytes in std::mem::take(&mut ending[step]) {
            live -= bytes;
        }
        work = sum(work, multiply_adds(model, node)?)?;
    }
    let excess = |what: &str, found: u64, max: u64| {
        Err(Refusal::TooLarge(format!(
            "it needs {found} {what}, more than {max}"
        )))
    };
    if peak > config.run_bytes_max {
        return excess("bytes of tensors at a time", peak, config.run_bytes_max);
    }
    if work > config.multiply_adds_max {
        return excess(
            "multiplications with addition",
            work,
            config.multiply_adds_max,
        );
    }
    Ok(())
}

/// Refuses one tensor above the limit. An axis of extent 0 counts as 1: a tensor without elements takes
/// no memory, yet tract walks over its other axes, however long they are.
pub(super) fn check_tensor(
    node: &str,
    datum: DatumType,
    shape: &[usize],
    config: &Config,
) -> Result<u64, Refusal> {
    let bytes = shape.iter().try_fold(datum.size_of(), |bytes, extent| {
        bytes.checked_mul((*extent).max(1))
    });
    match bytes.and_then(|bytes| u64::try_from(bytes).ok()) {
        Some(bytes) if bytes <= config.tensor_bytes_max => {
            Ok(if shape.contains(&0) { 0 } else { bytes })
        }
        _ => Err(Refusal::TooLarge(format!(
            "node `{node}` makes a tensor of shape {shape:?}"
        ))),
    }
}

/// Refuses a tile that repeats too often. Its result's shape does not tell when its operand is empty, and
/// tract copies nothing as often as it is asked to.
fn check_repeats(model: &TypedModel, node: &TypedNode, config: &Config) -> Result<(), Refusal> {
    if node.op_is::<DynTile>() {
        return Err(depends_on_data(&node.name));
    }
    let Some(Tile { multipliers }) = node.op_as() else {
        return Ok(());
    };
    let times: Option<Vec<usize>> = multipliers
        .iter()
        .map(|times| {
            let times = times.to_i64().ok()?;
            // tract reads a negative one as an enormous one.
            Some(usize::try_from(times).unwrap_or(usize::MAX))
        })
        .collect();
    let times = times.ok_or_else(|| depends_on_data(&node.name))?;
    let operand = model.outlet_fact(node.inputs[0]).map_err(malformed)?;
    let shape = known_shape(&node.name, operand)?;
    check_tiles(&node.name, operand.datum_type, shape, &times, config)
}

/// Refuses a tensor that is repeated along its axes more often than one without elements may be.
pub(super) fn check_tiles(
    node: &str,
    datum: DatumType,
    shape: &[usize],
    times: &[usize],
    config: &Config,
) -> Result<(), Refusal> {
    let tiled: Vec<usize> = shape
        .iter()
        .zip(times)
        .map(|(extent, times)| (*extent).max(1).saturating_mul(*times))
        .collect();
    check_tensor(node, datum, &tiled, config).map(drop)
}

/// The bytes that a node's outputs hold; those of a constant are weights and not counted.
fn output_bytes(node: &TypedNode, config: &Config) -> Result<u64, Refusal> {
    node.outputs.iter().try_fold(0, |bytes, output| {
        let shape = known_shape(&node.name, &output.fact)?;
        let more = check_tensor(&node.name, output.fact.datum_type, shape, config)?;
        if output.fact.konst.is_some() {
            Ok(bytes)
        } else {
            sum(bytes, more)
        }
    })
}

/// Multiplications with addition, and one for each element that is made.
fn multiply_adds(model: &TypedModel, node: &TypedNode) -> Result<u64, Refusal> {
    let inputs = model.node_input_facts(node.id).map_err(malformed)?;
    let mut work = 0;
    for (cost, count) in node.op.cost(&inputs).map_err(malformed)? {
        if cost.is_compute() {
            let count = count
                .to_dim()
                .to_i64()
                .map_err(|_| depends_on_data(&node.name))?;
            work = sum(work, u64::try_from(count).unwrap_or(u64::MAX))?;
        }
    }
    for output in &node.outputs {
        let elements = known_shape(&node.name, &output.fact)?
            .iter()
            .product::<usize>();
        work = sum(work, u64::try_from(elements).unwrap_or(u64::MAX))?;
    }
    Ok(work)
}

fn known_shape<'a>(node: &str, fact: &'a TypedFact) -> Result<&'a [usize], Refusal> {
    fact.shape.as_concrete().ok_or_else(|| {
        if fact.shape.iter().any(|extent| !extent.symbols().is_empty()) {
            return depends_on_data(node);
        }
        // Only numbers, and yet no extent: tract could not unify two of them.
        Refusal::Malformed(format!(
            "the operands of node `{node}` do not fit each other"
        ))
    })
}

fn depends_on_data(node: &str) -> Refusal {
    Refusal::Unsupported(format!("the shape of node `{node}` depends on data"))
}

fn sum(left: u64, right: u64) -> Result<u64, Refusal> {
    left.checked_add(right)
        .ok_or_else(|| Refusal::TooLarge("it needs more than 64 bits".to_owned()))
}
