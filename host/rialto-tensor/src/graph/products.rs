//! What follows a product or a convolution, drawn into it: a bias, a factor, an activation.
//!
//! A recording only runs what its outputs need, so the product is recorded again with what is drawn in,
//! and the first record is never run. Only where nobody else reads the product.

use super::{
    fact::{Fact, narrow},
    refusal::Refusal,
    scope::Scope,
};
use crate::{
    Element,
    ops::{Activation, Binary, Conv, Matmul, Op},
};

/// A product or convolution that something may still be drawn into.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) kind: Kind,
    pub(super) operands: Vec<Fact>,
}

/// Which one, with its attributes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Matmul(Matmul),
    Conv1d(Conv<1>),
    Conv2d(Conv<2>),
}

impl Kind {
    /// What the operation is, if it is one of these.
    pub(super) const fn of(op: &Op) -> Option<Self> {
        if let Op::Matmul(op) = op {
            Some(Self::Matmul(*op))
        } else if let Op::Conv1d(op) = op {
            Some(Self::Conv1d(*op))
        } else if let Op::Conv2d(op) = op {
            Some(Self::Conv2d(*op))
        } else {
            None
        }
    }

    const fn op(self) -> Op {
        match self {
            Self::Matmul(op) => Op::Matmul(op),
            Self::Conv1d(op) => Op::Conv1d(op),
            Self::Conv2d(op) => Op::Conv2d(op),
        }
    }

    const fn activation(&mut self) -> &mut Option<Activation> {
        match self {
            Self::Matmul(op) => &mut op.activation,
            Self::Conv1d(op) => &mut op.activation,
            Self::Conv2d(op) => &mut op.activation,
        }
    }

    const fn bias(&mut self) -> &mut bool {
        match self {
            Self::Matmul(op) => &mut op.bias,
            Self::Conv1d(op) => &mut op.bias,
            Self::Conv2d(op) => &mut op.bias,
        }
    }
}

impl Scope<'_> {
    /// The activation of a fact, `alone` if nobody else reads that.
    pub(super) fn activated(
        &mut self,
        fact: &Fact,
        alone: bool,
        activation: Activation,
    ) -> Result<Fact, Refusal> {
        if let Some(mut product) = self.open(fact, alone) {
            *product.kind.activation() = Some(activation);
            return self.again(&product);
        }
        self.unary(activation.unary(), fact)
    }

    /// The sum with something known, drawn into the product that `fact` is; none if that does not fit.
    pub(super) fn biased(
        &mut self,
        fact: &Fact,
        alone: bool,
        bias: &Fact,
    ) -> Result<Option<Fact>, Refusal> {
        let Some(mut product) = self.open(fact, alone) else {
            return Ok(None);
        };
        let Some(mut bias) = self.per_channel(fact, product.kind, bias)? else {
            return Ok(None);
        };
        if let Some(present) = product.operands.get(2).cloned() {
            bias = self.binary(Binary::Add, &present, &bias)?;
            product.operands.truncate(2);
        }
        product.operands.push(bias);
        *product.kind.bias() = true;
        self.again(&product).map(Some)
    }

    /// The product with something known, drawn into the convolution that `fact` is.
    pub(super) fn scaled(
        &mut self,
        fact: &Fact,
        alone: bool,
        scale: &Fact,
    ) -> Result<Option<Fact>, Refusal> {
        let Some(mut product) = self.open(fact, alone) else {
            return Ok(None);
        };
        let convolution = !matches!(product.kind, Kind::Matmul(_));
        let Some(scale) = self
            .per_channel(fact, product.kind, scale)?
            .filter(|_| convolution)
        else {
            return Ok(None);
        };
        let Some(weight) = product
            .operands
            .get(1)
            .filter(|fact| fact.tensor().is_some())
            .cloned()
        else {
            return Ok(None);
        };
        let mut column = vec![1; weight.rank()];
        if let (Some(place), Some(channels)) = (column.first_mut(), scale.shape().first()) {
            *place = *channels;
        }
        let factors = self.reshape(&scale, &column)?;
        let weight = self.binary(Binary::Mul, &weight, &factors)?;
        let bias = product.operands.get(2).cloned();
        product.operands.truncate(1);
        product.operands.push(weight);
        if let Some(bias) = bias {
            product
                .operands
                .push(self.binary(Binary::Mul, &bias, &scale)?);
        }
        self.again(&product).map(Some)
    }

    /// The product that a fact is, if it has no activation yet.
    fn open(&self, fact: &Fact, alone: bool) -> Option<Product> {
        let product = self.products.get(&fact.value()?).filter(|_| alone)?;
        let mut product = product.clone();
        let closed = product.kind.activation().is_some() || fact.element() == Element::I32;
        (!closed).then_some(product)
    }

    /// Something known that has one value for each channel (or one for all), as a row of the channels.
    fn per_channel(
        &mut self,
        product: &Fact,
        kind: Kind,
        known: &Fact,
    ) -> Result<Option<Fact>, Refusal> {
        let axis = match kind {
            Kind::Matmul(_) => product.rank().saturating_sub(1),
            Kind::Conv1d(_) | Kind::Conv2d(_) => 1,
        };
        let fits = known.tensor().is_some()
            && known.element() == product.element()
            && known.rank() <= product.rank();
        if !fits {
            return Ok(None);
        }
        let missing = product.rank() - known.rank();
        let others_are_one = known
            .shape()
            .iter()
            .enumerate()
            .all(|(place, extent)| place + missing == axis || *extent == 1);
        let channels = product.extent(axis);
        let own = axis
            .checked_sub(missing)
            .map_or(1, |place| known.extent(place));
        if !others_are_one || (own != channels && own != 1) {
            return Ok(None);
        }
        let count = narrow(known.spec().elements())?;
        let row = self.reshape(known, &[count])?;
        self.broadcast(&row, &[channels]).map(Some)
    }

    fn again(&mut self, product: &Product) -> Result<Fact, Refusal> {
        let operands: Vec<&Fact> = product.operands.iter().collect();
        self.op(product.kind.op(), &operands)
    }
}
