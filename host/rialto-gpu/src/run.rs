//! Runs a program step by step.

use std::sync::Arc;

use rialto_compute::ops::{
    Cancel, EvalError, Op, Program, Resident, Spec, Step, Value, Work, cost, spec::strides,
};

use crate::{
    device::GpuDevice,
    kernel::Operand,
    link::{Link, failed},
    ops,
    pool::Part,
    stream::Stream,
};

/// Runs a program whose inputs were checked.
pub(crate) fn run(
    device: &GpuDevice,
    link: &Arc<Link>,
    program: &Program,
    inputs: &[Resident],
    cancel: &Cancel,
) -> Result<Vec<Resident>, EvalError> {
    let mut stream = Stream::new(link, cancel, device.deadline());
    let done = steps(device, &mut stream, program, inputs);
    if done.is_err() {
        stream.abandon();
    }
    done
}

fn steps(
    device: &GpuDevice,
    stream: &mut Stream<'_>,
    program: &Program,
    inputs: &[Resident],
) -> Result<Vec<Resident>, EvalError> {
    let link = stream.link;
    let mut values: Vec<Option<Operand>> = vec![None; program.values()];
    let given = program.inputs().iter().zip(inputs);
    for (value, resident) in given.chain(program.constants()) {
        set(&mut values, *value, device.operand(link, resident)?);
    }
    for step in program.steps() {
        compute(device, stream, program, step, &mut values)?;
        for value in &step.frees {
            if let Some(place) = values.get_mut(value.index()) {
                *place = None;
            }
        }
    }
    let mut outputs = Vec::with_capacity(program.outputs().len());
    for value in program.outputs() {
        let operand = get(&values, "output", *value)?;
        outputs.push(kept(stream, operand)?);
    }
    stream.verdict()?;
    stream.finish()?;
    Ok(outputs
        .into_iter()
        .map(|operand| Resident::on_device(operand.spec, Arc::new(operand.part)))
        .collect())
}

fn set(values: &mut [Option<Operand>], value: Value, operand: Operand) {
    if let Some(place) = values.get_mut(value.index()) {
        *place = Some(operand);
    }
}

fn get<'a>(
    values: &'a [Option<Operand>],
    op: &'static str,
    value: Value,
) -> Result<&'a Operand, EvalError> {
    let operand = values.get(value.index()).and_then(Option::as_ref);
    operand.ok_or_else(|| failed(op, "a value is used before it is made".to_owned()))
}

/// What outlives the run: a small part of much memory is copied, so that it does not keep the rest.
fn kept(stream: &mut Stream<'_>, operand: &Operand) -> Result<Operand, EvalError> {
    let bytes = operand.spec.bytes();
    let whole = operand.part.memory.size();
    if whole <= WHOLE_MAX || u64::try_from(bytes).is_ok_and(|bytes| bytes >= whole / 4) {
        return Ok(operand.clone());
    }
    let part = stream.allocate("output", bytes)?;
    if bytes > 0 {
        stream.copy(&operand.part, &part, bytes);
    }
    let spec = operand.spec.clone();
    Ok(Operand { spec, part })
}

fn compute(
    device: &GpuDevice,
    stream: &mut Stream<'_>,
    program: &Program,
    step: &Step,
    values: &mut [Option<Operand>],
) -> Result<(), EvalError> {
    let operands = step
        .operands
        .iter()
        .map(|value| get(values, step.name(), *value))
        .collect::<Result<Vec<_>, _>>()?;
    let results: Vec<Spec> = step
        .results
        .iter()
        .filter_map(|value| program.spec(*value).cloned())
        .collect();
    let specs: Vec<&Spec> = operands.iter().map(|operand| &operand.spec).collect();
    let made = match &step.work {
        Work::Fused(chain) => {
            stream.weigh(u64::try_from(chain.result.elements()).unwrap_or(u64::MAX))?;
            vec![ops::fused(stream, chain, &operands)?]
        }
        Work::Op(op) => {
            stream.weigh(cost(op, &specs, &results).multiply_adds)?;
            if let ([operand], [result]) = (operands.as_slice(), results.as_slice())
                && let Some(part) = view(stream.link, op, operand, result)
            {
                vec![Operand {
                    spec: result.clone(),
                    part,
                }]
            } else {
                match ops::compute(stream, op, &operands, &results)? {
                    Some(made) => made,
                    None => device.fallback().run(stream, op, &operands)?,
                }
            }
        }
    };
    for (value, operand) in step.results.iter().zip(made) {
        set(values, *value, operand);
    }
    Ok(())
}

/// The result of an operation that need not copy; none if it must.
fn view(link: &Link, op: &Op, operand: &Operand, result: &Spec) -> Option<Part> {
    let whole = || operand.part.clone();
    let same = operand.spec.shape() == result.shape();
    if let Op::Reshape(_) = op {
        Some(whole())
    } else if let Op::Cast(to) = op {
        (*to == operand.spec.element()).then(whole)
    } else if let Op::BroadcastTo(_) | Op::Concat { .. } | Op::Pad(_) = op {
        same.then(whole)
    } else if let Op::Transpose(order) = op {
        // Only axes of one element change places.
        let moved = order.iter().filter(|axis| operand.spec.extent(**axis) != 1);
        moved.is_sorted().then(whole)
    } else if let Op::Slice(ranges) = op {
        let sizes = operand.spec.sizes();
        let (mut start, mut all) = (0, true);
        // From the last axis outwards: whole axes, then one range, then single elements.
        for ((range, size), stride) in ranges.iter().zip(&sizes).zip(strides(&sizes)).rev() {
            let span = range.on(*size)?;
            if span.count > 1 && (span.step != 1 || !all) {
                return None;
            }
            all = all && span.count == *size;
            start += span.start * stride;
        }
        let at = start * operand.spec.element().size_bytes();
        let offset = operand.part.offset + u64::try_from(at).ok()?;
        let align = u64::from(link.limits.min_storage_buffer_offset_alignment.max(16));
        (result.elements() > 0 && offset.is_multiple_of(align)).then(|| Part {
            memory: Arc::clone(&operand.part.memory),
            offset,
        })
    } else {
        None
    }
}

/// Memory that any part of it may keep.
const WHOLE_MAX: u64 = 64 << 10;
