//! From a model's file to nodes that may be planned.
//!
//! Everything that can be known without shapes is checked here: sizes, names, operators, attributes.

use std::collections::HashSet;

use tract_onnx::{
    pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto},
    prelude::Framework,
};

use super::{
    attributes::Attributes,
    literal,
    operators::{Emit, operator},
    refusal::Refusal,
};
use crate::{Config, Port, Tensor, file, tract::graph::ports};

/// A graph before its shapes are fixed.
pub(super) struct Graph {
    pub(super) block: Block,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    pub(super) metadata: Vec<(String, String)>,
}

/// A graph, or the branch of one.
pub(super) struct Block {
    /// In an order in which each can be computed.
    pub(super) nodes: Vec<Node>,
    pub(super) constants: Vec<(String, Tensor)>,
    pub(super) outputs: Vec<String>,
}

/// A node of a graph.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) op: String,
    /// Empty names are operands that are left out.
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) work: Work,
}

/// What a node does.
pub(super) enum Work {
    Emit(Emit),
    If { then: Block, other: Block },
}

/// Decodes and checks a file.
pub(super) fn parse(bytes: &[u8], config: &Config) -> Result<Graph, Refusal> {
    let proto = tract_onnx::onnx()
        .proto_model_for_read(&mut &*bytes)
        .map_err(|error| Refusal::malformed(format!("{error:#}")))?;
    let metadata = file::metadata(&proto, bytes.len());
    let graph = proto.graph.as_ref();
    let graph = graph.ok_or_else(|| Refusal::malformed("it has no graph"))?;
    let nodes = nodes_of(graph, 0)?;
    if nodes > config.nodes_max {
        let max = config.nodes_max;
        return Err(Refusal::TooLarge(format!(
            "it has {nodes} nodes, more than {max}"
        )));
    }
    let (inputs, outputs) = ports(graph)?;
    let mut reader = Reader {
        config,
        opset: opset(&proto)?,
        names: inputs.iter().map(|port| port.name.clone()).collect(),
    };
    let block = reader.block(graph)?;
    Ok(Graph {
        block,
        inputs,
        outputs,
        metadata,
    })
}

fn opset(proto: &ModelProto) -> Result<i64, Refusal> {
    let mut sets = proto.opset_import.iter();
    let set = sets.find(|set| set.domain.is_empty() || set.domain == DOMAIN);
    let version = set.map_or(1, |set| set.version);
    if (OPSET_MIN..=OPSET_MAX).contains(&version) {
        Ok(version)
    } else {
        Err(Refusal::unsupported(format!(
            "operator set {version}; {OPSET_MIN} to {OPSET_MAX} are known"
        )))
    }
}

/// Nodes of a graph and its branches.
fn nodes_of(graph: &GraphProto, depth: usize) -> Result<usize, Refusal> {
    if depth > DEPTH_MAX {
        return Err(Refusal::TooLarge(format!(
            "branches in more than {DEPTH_MAX} branches"
        )));
    }
    let mut nodes = graph.node.len();
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    for inner in attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        nodes = nodes.saturating_add(nodes_of(inner, depth + 1)?);
    }
    Ok(nodes)
}

struct Reader<'a> {
    config: &'a Config,
    opset: i64,
    /// What was computed so far, here and around: names are given once.
    names: HashSet<String>,
}

impl Reader<'_> {
    fn block(&mut self, graph: &GraphProto) -> Result<Block, Refusal> {
        if !graph.sparse_initializer.is_empty() {
            return Err(Refusal::unsupported("it has sparse initializers"));
        }
        let constants = graph.initializer.iter().map(|tensor| self.constant(tensor));
        let constants = constants.collect::<Result<_, _>>()?;
        let nodes = graph.node.iter().map(|node| {
            self.node(node)
                .map_err(|refusal| refusal.at(&node.name, &node.op_type))
        });
        let nodes = nodes.collect::<Result<_, _>>()?;
        let outputs: Vec<String> = graph
            .output
            .iter()
            .map(|value| value.name.clone())
            .collect();
        match outputs.iter().find(|name| !self.names.contains(*name)) {
            Some(name) => Err(Refusal::malformed(format!(
                "nothing computes output `{name}`"
            ))),
            None => Ok(Block {
                nodes,
                constants,
                outputs,
            }),
        }
    }

    fn constant(&mut self, proto: &TensorProto) -> Result<(String, Tensor), Refusal> {
        self.name(&proto.name)?;
        Ok((proto.name.clone(), literal::tensor(proto, self.config)?))
    }

    fn name(&mut self, name: &str) -> Result<(), Refusal> {
        if self.names.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(Refusal::malformed(format!("`{name}` is computed twice")))
        }
    }

    fn node(&mut self, proto: &NodeProto) -> Result<Node, Refusal> {
        if !proto.domain.is_empty() && proto.domain != DOMAIN {
            return Err(Refusal::unsupported(format!(
                "operators of `{}`",
                proto.domain
            )));
        }
        if file::RANDOM.contains(&proto.op_type.as_str()) {
            return Err(Refusal::unsupported("it draws random numbers"));
        }
        let mut inputs = proto.input.iter().filter(|name| !name.is_empty());
        if let Some(name) = inputs.find(|name| !self.names.contains(*name)) {
            return Err(Refusal::malformed(format!(
                "nothing computes `{name}` before"
            )));
        }
        let work = if proto.op_type == "If" {
            self.branches(proto)?
        } else {
            let mut attributes = Attributes::new(proto, self.opset, self.config);
            let emit = operator(&proto.op_type, &mut attributes)?;
            attributes.finish()?;
            Work::Emit(emit)
        };
        for name in proto.output.iter().filter(|name| !name.is_empty()) {
            self.name(name)?;
        }
        Ok(Node {
            name: proto.name.clone(),
            op: proto.op_type.clone(),
            inputs: proto.input.clone(),
            outputs: proto.output.clone(),
            work,
        })
    }

    fn branches(&mut self, proto: &NodeProto) -> Result<Work, Refusal> {
        let branch = |name: &str| {
            let is = |attribute: &&AttributeProto| attribute.name == name;
            let graph = proto
                .attribute
                .iter()
                .find(is)
                .and_then(|attribute| attribute.g.as_ref());
            graph.ok_or_else(|| Refusal::malformed(format!("`{name}` is missing")))
        };
        let (then, other) = (branch("then_branch")?, branch("else_branch")?);
        // What one branch computes the other one does not see.
        let around = self.names.clone();
        let then = self.block(then)?;
        self.names.clone_from(&around);
        let other = self.block(other)?;
        self.names = around;
        if then.outputs.len() != proto.output.len() || other.outputs.len() != proto.output.len() {
            return Err(Refusal::malformed(
                "its branches differ in the number of outputs",
            ));
        }
        Ok(Work::If { then, other })
    }
}

const DOMAIN: &str = "ai.onnx";
/// From here on operands broadcast as they do today.
const OPSET_MIN: i64 = 7;
/// The last one whose operators were read.
const OPSET_MAX: i64 = 24;
/// How deep branches may be nested.
const DEPTH_MAX: usize = 8;
