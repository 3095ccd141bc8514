//! Walks over a graph: each node finds its operands by name and records what it becomes.

use std::collections::HashMap;

use super::{
    fact::{Fact, Operands},
    file::{Block, Node, Work},
    refusal::Refusal,
    scope::Scope,
};
use crate::Tensor;

/// What is known so far, by name: the graph's own names, then those of each open branch.
pub(super) struct Walk<'a, 's> {
    pub(super) scope: Scope<'s>,
    frames: Vec<HashMap<&'a str, Fact>>,
    readers: &'a Readers,
}

/// How many nodes and outputs read each name.
pub(super) type Readers = HashMap<String, usize>;

/// Counts who reads what, in a graph and its branches.
pub(super) fn readers(block: &Block) -> Readers {
    let mut readers = Readers::new();
    count(block, &mut readers);
    readers
}

fn count(block: &Block, readers: &mut Readers) {
    let mut read = |name: &String| {
        let count = readers.entry(name.clone()).or_default();
        *count = count.saturating_add(1);
    };
    for node in &block.nodes {
        node.inputs.iter().for_each(&mut read);
    }
    block.outputs.iter().for_each(&mut read);
    for node in &block.nodes {
        if let Work::If { then, other } = &node.work {
            count(then, readers);
            count(other, readers);
        }
    }
}

impl<'a, 's> Walk<'a, 's> {
    pub(super) fn new(scope: Scope<'s>, readers: &'a Readers) -> Self {
        Self {
            scope,
            frames: vec![HashMap::new()],
            readers,
        }
    }

    pub(super) fn know(&mut self, name: &'a str, fact: Fact) {
        if let Some(frame) = self.frames.last_mut() {
            frame.insert(name, fact);
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Fact> {
        self.frames.iter().rev().find_map(|frame| frame.get(name))
    }

    /// Records all nodes of a block.
    pub(super) fn block(&mut self, block: &'a Block) -> Result<(), Refusal> {
        for (name, tensor) in &block.constants {
            self.know(name, Fact::known(tensor.clone())?);
        }
        for node in &block.nodes {
            let at = |refusal: Refusal| refusal.at(&node.name, &node.op);
            let results = match &node.work {
                Work::Emit(_) => self.emit(node).map_err(at)?,
                Work::If { then, other } => {
                    let branch = if self.condition(node).map_err(at)? {
                        then
                    } else {
                        other
                    };
                    self.branch(branch)?
                }
            };
            for (name, fact) in node.outputs.iter().zip(results) {
                self.know(name, fact);
            }
        }
        Ok(())
    }

    /// Records the nodes whose operands are all known, and returns what they give. What cannot be done is
    /// left to a plan, which says why.
    pub(super) fn known(&mut self, block: &'a Block) -> HashMap<&'a str, Tensor> {
        let mut known = HashMap::new();
        for (name, tensor) in &block.constants {
            if let Ok(fact) = Fact::known(tensor.clone()) {
                self.know(name, fact);
            }
        }
        for node in &block.nodes {
            let mut inputs = node.inputs.iter().filter(|name| !name.is_empty());
            if matches!(node.work, Work::If { .. }) || !inputs.all(|name| self.find(name).is_some())
            {
                continue;
            }
            let Ok(facts) = self.emit(node) else { continue };
            let tensors: Option<Vec<Tensor>> =
                facts.iter().map(|fact| fact.tensor().cloned()).collect();
            for ((name, fact), tensor) in node
                .outputs
                .iter()
                .zip(facts)
                .zip(tensors.into_iter().flatten())
            {
                self.know(name, fact);
                known.insert(name.as_str(), tensor);
            }
        }
        known
    }

    fn emit(&mut self, node: &Node) -> Result<Vec<Fact>, Refusal> {
        let Work::Emit(emit) = &node.work else {
            return Err(Refusal::malformed("it is a branch"));
        };
        let mut facts = Vec::with_capacity(node.inputs.len());
        let mut alone = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            let fact = self.find(name).filter(|_| !name.is_empty()).cloned();
            if fact.is_none() && !name.is_empty() {
                return Err(Refusal::malformed(format!("nothing computes `{name}`")));
            }
            facts.push(fact);
            alone.push(self.readers.get(name) == Some(&1));
        }
        let results = emit(&mut self.scope, &Operands::new(facts, alone))?;
        let named = node.outputs.iter().rposition(|name| !name.is_empty());
        if named.is_some_and(|last| last >= results.len()) {
            return Err(Refusal::malformed(format!(
                "it makes {} results",
                results.len()
            )));
        }
        Ok(results)
    }

    fn condition(&self, node: &Node) -> Result<bool, Refusal> {
        let name = node.inputs.first().map_or("", String::as_str);
        let fact = self.find(name);
        let fact = fact.ok_or_else(|| Refusal::malformed("its condition is missing"))?;
        fact.int("its condition").map(|value| value != 0)
    }

    fn branch(&mut self, block: &'a Block) -> Result<Vec<Fact>, Refusal> {
        self.frames.push(HashMap::new());
        let done = self.block(block);
        let outputs = block.outputs.iter().map(|name| {
            let fact = self.find(name).cloned();
            fact.ok_or_else(|| Refusal::malformed(format!("nothing computes `{name}`")))
        });
        let outputs: Result<Vec<Fact>, Refusal> = outputs.collect();
        self.frames.pop();
        done.and(outputs)
    }
}
