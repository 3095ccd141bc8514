//! Recurrent layers, step by step: as many operations as there are steps, up to a limit.

use super::{Found, many};
use crate::{
    Element,
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands, count, narrow, wide},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Binary, Matmul, Number, Op, Range, Unary},
};

/// Which layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// Gates: input, output, forget, cell.
    Lstm,
    /// Gates: update, reset, hidden. The reset is applied before or after the product.
    Gru { after: bool },
}

/// The order of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Reverse,
    Both,
}

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    let cell = match op {
        "LSTM" => {
            a.only("input_forget", 0)?;
            a.results(3);
            Cell::Lstm
        }
        "GRU" => {
            a.results(2);
            let after = a.flag("linear_before_reset", false)?;
            Cell::Gru { after }
        }
        _ => return Ok(None),
    };
    for name in ["activations", "activation_alpha", "activation_beta", "clip"] {
        if a.has(name) {
            return Err(Refusal::unsupported(format!("attribute `{name}`")));
        }
    }
    a.only("layout", 0)?;
    a.ignore("output_sequence");
    let direction = match a.text_or("direction", "forward")?.as_str() {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Both,
        other => return Err(Refusal::unsupported(format!("`direction` of {other}"))),
    };
    let hidden = count(a.int_or("hidden_size", 0)?, "a hidden size")?;
    many(move |s, x| layer(s, x, cell, direction, hidden))
}

/// One direction of a layer.
struct Lane {
    cell: Cell,
    hidden: u32,
    /// `[steps, batch, gates * hidden]`: what the inputs and both biases contribute.
    drive: Fact,
    /// `[gates * hidden, hidden]`
    recurrent: Fact,
    /// `[gates * hidden]`, where it is not part of `drive`.
    bias: Option<Fact>,
}

fn layer(
    s: &mut Scope<'_>,
    x: &Operands,
    cell: Cell,
    direction: Direction,
    hidden: u32,
) -> Result<Vec<Fact>, Refusal> {
    let [steps, batch, _] = *x.at(0)?.shape() else {
        return Err(Refusal::malformed("the input needs three axes"));
    };
    if steps == 0 || steps > STEPS_MAX {
        return Err(Refusal::unsupported(format!(
            "{steps} steps; at most {STEPS_MAX}"
        )));
    }
    if let Some(lengths) = x.maybe(4)
        && lengths
            .ints("the lengths")?
            .iter()
            .any(|length| *length != i64::from(steps))
    {
        return Err(Refusal::unsupported("sequences of different lengths"));
    }
    if x.maybe(7).is_some() {
        return Err(Refusal::unsupported("peepholes"));
    }
    let reversed: &[bool] = match direction {
        Direction::Forward => &[false],
        Direction::Reverse => &[true],
        Direction::Both => &[false, true],
    };
    let (mut ys, mut hs, mut cs) = (Vec::new(), Vec::new(), Vec::new());
    for (place, back) in reversed.iter().enumerate() {
        let lane = lane(s, x, cell, hidden, place)?;
        let state = |s: &mut Scope<'_>, operand: usize| match x.maybe(operand) {
            Some(fact) => pick(s, fact, place),
            None => {
                let zero = s.number(Element::F32, Number::Int(0))?;
                s.broadcast(&zero, &[batch, hidden])
            }
        };
        let mut h = state(s, 5)?;
        let mut c = state(s, 6)?;
        let mut rows = Vec::with_capacity(wide(steps));
        for step in 0..steps {
            let at = if *back { steps - 1 - step } else { step };
            let drive = pick(s, &lane.drive, wide(at))?;
            (h, c) = lane.step(s, &drive, &h, &c)?;
            rows.push(s.reshape(&h, &[1, 1, batch, hidden])?);
        }
        if *back {
            rows.reverse();
        }
        ys.push(s.concat(&rows.iter().collect::<Vec<_>>(), 0)?);
        hs.push(s.reshape(&h, &[1, batch, hidden])?);
        cs.push(s.reshape(&c, &[1, batch, hidden])?);
    }
    let mut join = |facts: &[Fact], axis| s.concat(&facts.iter().collect::<Vec<_>>(), axis);
    Ok(vec![join(&ys, 1)?, join(&hs, 0)?, join(&cs, 0)?])
}

/// One place on the first axis, without that axis.
fn pick(s: &mut Scope<'_>, fact: &Fact, place: usize) -> Result<Fact, Refusal> {
    let place = narrow(place)?;
    let row = s.span(fact, 0, place, place + 1)?;
    let shape = row.shape().get(1..).unwrap_or_default().to_vec();
    s.reshape(&row, &shape)
}

fn lane(
    s: &mut Scope<'_>,
    x: &Operands,
    cell: Cell,
    hidden: u32,
    place: usize,
) -> Result<Lane, Refusal> {
    let gates = if cell == Cell::Lstm { 4 } else { 3 };
    let width = hidden.saturating_mul(gates);
    let input = x.at(0)?;
    let weight = pick(s, x.at(1)?, place)?;
    let recurrent = pick(s, x.at(2)?, place)?;
    if weight.shape() != [width, input.extent(2)] || recurrent.shape() != [width, hidden] {
        return Err(Refusal::malformed(format!(
            "weights of {:?} and {:?} for {hidden} hidden",
            weight.shape(),
            recurrent.shape()
        )));
    }
    let product = Op::Matmul(Matmul {
        transpose_right: true,
        ..Matmul::default()
    });
    let mut drive = s.op(product, &[input, &weight])?;
    let mut bias = None;
    if let Some(both) = x.maybe(3) {
        let both = pick(s, both, place)?;
        if both.shape() != [width.saturating_mul(2)] {
            return Err(Refusal::malformed(format!("a bias of {:?}", both.shape())));
        }
        let (of_input, of_state) = (
            s.span(&both, 0, 0, width)?,
            s.span(&both, 0, width, 2 * width)?,
        );
        drive = s.binary(Binary::Add, &drive, &of_input)?;
        if cell == (Cell::Gru { after: true }) {
            bias = Some(of_state);
        } else {
            drive = s.binary(Binary::Add, &drive, &of_state)?;
        }
    }
    Ok(Lane {
        cell,
        hidden,
        drive,
        recurrent,
        bias,
    })
}

impl Lane {
    /// The next hidden state and cell (which a GRU does not have).
    fn step(
        &self,
        s: &mut Scope<'_>,
        drive: &Fact,
        h: &Fact,
        c: &Fact,
    ) -> Result<(Fact, Fact), Refusal> {
        match self.cell {
            Cell::Lstm => {
                let back = self.back(s, h, 0, 4)?;
                let all = s.binary(Binary::Add, drive, &back)?;
                let gate = |s: &mut Scope<'_>, place: u32, by: Unary| {
                    let part = self.gates(s, &all, 1, place, place + 1)?;
                    s.unary(by, &part)
                };
                let (input, output) = (gate(s, 0, Unary::Sigmoid)?, gate(s, 1, Unary::Sigmoid)?);
                let (forget, new) = (gate(s, 2, Unary::Sigmoid)?, gate(s, 3, Unary::Tanh)?);
                let (kept, added) = (
                    s.binary(Binary::Mul, &forget, c)?,
                    s.binary(Binary::Mul, &input, &new)?,
                );
                let c = s.binary(Binary::Add, &kept, &added)?;
                let shown = s.unary(Unary::Tanh, &c)?;
                let h = s.binary(Binary::Mul, &output, &shown)?;
                Ok((h, c))
            }
            Cell::Gru { after } => Ok((self.gru(s, drive, h, after)?, c.clone())),
        }
    }

    fn gru(&self, s: &mut Scope<'_>, drive: &Fact, h: &Fact, after: bool) -> Result<Fact, Refusal> {
        let back = self.back(s, h, 0, 2)?;
        let of_gates = self.gates(s, drive, 1, 0, 2)?;
        let gates = s.binary(Binary::Add, &of_gates, &back)?;
        let gates = s.unary(Unary::Sigmoid, &gates)?;
        let update = self.gates(s, &gates, 1, 0, 1)?;
        let reset = self.gates(s, &gates, 1, 1, 2)?;
        let of_new = self.gates(s, drive, 1, 2, 3)?;
        let back = if after {
            let back = self.back(s, h, 2, 3)?;
            s.binary(Binary::Mul, &reset, &back)?
        } else {
            let h = s.binary(Binary::Mul, &reset, h)?;
            self.back(s, &h, 2, 3)?
        };
        let new = s.binary(Binary::Add, &of_new, &back)?;
        let new = s.unary(Unary::Tanh, &new)?;
        // (1 - z) * new + z * h
        let step = s.binary(Binary::Sub, h, &new)?;
        let step = s.binary(Binary::Mul, &update, &step)?;
        s.binary(Binary::Add, &new, &step)
    }

    /// What the state contributes to some gates.
    fn back(&self, s: &mut Scope<'_>, h: &Fact, from: u32, to: u32) -> Result<Fact, Refusal> {
        let weight = self.gates(s, &self.recurrent, 0, from, to)?;
        let bias = match &self.bias {
            Some(bias) => Some(self.gates(s, bias, 0, from, to)?),
            None => None,
        };
        let op = Op::Matmul(Matmul {
            transpose_right: true,
            bias: bias.is_some(),
            ..Matmul::default()
        });
        let mut operands = vec![h, &weight];
        operands.extend(&bias);
        s.op(op, &operands)
    }

    fn gates(
        &self,
        s: &mut Scope<'_>,
        fact: &Fact,
        axis: usize,
        from: u32,
        to: u32,
    ) -> Result<Fact, Refusal> {
        let place = |gate: u32| i64::from(gate).saturating_mul(i64::from(self.hidden));
        let range = Range {
            start: place(from),
            end: Some(place(to)),
            step: 1,
        };
        if place(from) == 0 && place(to) == i64::from(fact.extent(axis)) {
            return Ok(fact.clone());
        }
        s.part(fact, axis, range)
    }
}

/// The longest sequence that is unrolled.
const STEPS_MAX: u32 = 512;
