//! What each operator of ONNX becomes: attributes are read once, at load; operations are recorded for
//! each plan.
//!
//! Semantics are those of the standard's operator sets 7 to 24, default domain. What is not known for
//! certain (an attribute, an optional result, a rank) is refused with its name, never approximated.

mod activation;
mod blocks;
mod conv;
mod elementwise;
mod index;
mod layout;
mod linear;
mod normal;
mod pad;
mod pool;
mod quantise;
mod recurrent;
mod reduce;
mod resize;
mod source;
mod transposed;

use super::{
    attributes::Attributes,
    fact::{Fact, Operands},
    refusal::Refusal,
    scope::Scope,
};

/// Records one node; the results in the node's order.
pub(super) type Emit =
    Box<dyn Fn(&mut Scope<'_>, &Operands) -> Result<Vec<Fact>, Refusal> + Send + Sync>;

/// What a family of operators says to a name: nothing, if it is none of its own.
type Found = Result<Option<Emit>, Refusal>;

/// The operator of a name, if it is known with these attributes.
pub(super) fn operator(op: &str, a: &mut Attributes<'_>) -> Result<Emit, Refusal> {
    let families = [
        elementwise::of,
        layout::of,
        pad::of,
        blocks::of,
        source::of,
        index::of,
        reduce::of,
        linear::of,
        conv::of,
        pool::of,
        normal::of,
        quantise::of,
        resize::of,
        recurrent::of,
    ];
    for family in families {
        if let Some(emit) = family(op, a)? {
            return Ok(emit);
        }
    }
    Err(Refusal::unsupported("the operator is not known"))
}

/// An operator with any number of results.
fn many(
    emit: impl Fn(&mut Scope<'_>, &Operands) -> Result<Vec<Fact>, Refusal> + Send + Sync + 'static,
) -> Found {
    Ok(Some(Box::new(emit)))
}

/// An operator with one result.
fn one(
    emit: impl Fn(&mut Scope<'_>, &Operands) -> Result<Fact, Refusal> + Send + Sync + 'static,
) -> Found {
    many(move |s, x| emit(s, x).map(|fact| vec![fact]))
}
