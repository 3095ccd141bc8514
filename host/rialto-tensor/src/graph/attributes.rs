//! A node's attributes, each read once: one that nobody reads is one that the engine does not know.

use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto::AttributeType};

use super::{literal, refusal::Refusal};
use crate::{Config, Tensor};

/// What a node says beside its operands.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    node: &'a NodeProto,
    unread: Vec<&'a AttributeProto>,
    /// The version of the default operator set.
    pub(super) opset: i64,
    pub(super) config: &'a Config,
    results_max: usize,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(node: &'a NodeProto, opset: i64, config: &'a Config) -> Self {
        Self {
            node,
            unread: node.attribute.iter().collect(),
            opset,
            config,
            results_max: 1,
        }
    }

    /// The operator makes up to so many results; one, unless this is called.
    pub(super) const fn results(&mut self, max: usize) {
        self.results_max = max;
    }

    /// How many of the node's outputs have a name.
    pub(super) fn outputs(&self) -> usize {
        self.node
            .output
            .iter()
            .filter(|name| !name.is_empty())
            .count()
    }

    /// Refuses attributes that were not read, and results that are not made.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        if let Some(attribute) = self.unread.first() {
            return Err(Refusal::unsupported(format!(
                "attribute `{}`",
                attribute.name
            )));
        }
        let beyond = self.node.output.iter().skip(self.results_max);
        if let Some(name) = beyond.into_iter().find(|name| !name.is_empty()) {
            return Err(Refusal::unsupported(format!("output `{name}`")));
        }
        Ok(())
    }

    fn take(
        &mut self,
        name: &str,
        kind: AttributeType,
    ) -> Result<Option<&'a AttributeProto>, Refusal> {
        let Some(place) = self
            .unread
            .iter()
            .position(|attribute| attribute.name == name)
        else {
            return Ok(None);
        };
        let attribute = self.unread.swap_remove(place);
        if !attribute.ref_attr_name.is_empty() {
            return Err(Refusal::unsupported(format!(
                "attribute `{name}` is another's"
            )));
        }
        // Files before version 2 of the format leave the type out.
        if attribute.r#type != 0 && attribute.r#type != i32::from(kind) {
            return Err(Refusal::malformed(format!(
                "attribute `{name}` has another type"
            )));
        }
        Ok(Some(attribute))
    }

    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        Ok(self
            .take(name, AttributeType::Int)?
            .map(|attribute| attribute.i))
    }

    pub(super) fn int_or(&mut self, name: &str, default: i64) -> Result<i64, Refusal> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, Refusal> {
        Ok(self.int(name)?.map_or(default, |value| value != 0))
    }

    /// An attribute whose only value here is its default.
    pub(super) fn only(&mut self, name: &str, value: i64) -> Result<(), Refusal> {
        match self.int(name)? {
            Some(other) if other != value => {
                Err(Refusal::unsupported(format!("`{name}` of {other}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn float(&mut self, name: &str) -> Result<Option<f32>, Refusal> {
        Ok(self
            .take(name, AttributeType::Float)?
            .map(|attribute| attribute.f))
    }

    pub(super) fn float_or(&mut self, name: &str, default: f32) -> Result<f32, Refusal> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    pub(super) fn ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
        let attribute = self.take(name, AttributeType::Ints)?;
        Ok(attribute.map(|attribute| attribute.ints.clone()))
    }

    pub(super) fn floats(&mut self, name: &str) -> Result<Option<Vec<f32>>, Refusal> {
        let attribute = self.take(name, AttributeType::Floats)?;
        Ok(attribute.map(|attribute| attribute.floats.clone()))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let attribute = self.take(name, AttributeType::String)?;
        let text = attribute.map(|attribute| String::from_utf8(attribute.s.clone()));
        text.transpose()
            .map_err(|_| Refusal::malformed(format!("attribute `{name}` is no text")))
    }

    pub(super) fn text_or(&mut self, name: &str, default: &str) -> Result<String, Refusal> {
        Ok(self.text(name)?.unwrap_or_else(|| default.to_owned()))
    }

    /// An attribute that changes nothing in inference.
    pub(super) fn ignore(&mut self, name: &str) {
        self.unread.retain(|attribute| attribute.name != name);
    }

    /// Whether the attribute is there, read or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node
            .attribute
            .iter()
            .any(|attribute| attribute.name == name)
    }

    pub(super) fn tensor(&mut self, name: &str) -> Result<Option<Tensor>, Refusal> {
        let attribute = self.take(name, AttributeType::Tensor)?;
        let proto = attribute.map(|attribute| {
            let proto = attribute.t.as_ref();
            proto.ok_or_else(|| Refusal::malformed(format!("attribute `{name}` is empty")))
        });
        proto
            .transpose()?
            .map(|proto| literal::tensor(proto, self.config))
            .transpose()
    }
}
