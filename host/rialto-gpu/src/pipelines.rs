//! Compiled kernels by their source, the least recently used forgotten beyond a limit.
//!
//! Non-goals: writing them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use rialto_compute::ops::EvalError;

use crate::link::Link;

/// The cache.
#[derive(Debug)]
pub(crate) struct Pipelines {
    limit: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    entries: BTreeMap<String, (u64, wgpu::ComputePipeline)>,
    clock: u64,
}

impl Pipelines {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            cache: Mutex::new(Cache {
                entries: BTreeMap::new(),
                clock: 0,
            }),
        }
    }

    fn find(&self, source: &str) -> Option<wgpu::ComputePipeline> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let clock = cache.clock;
        let (used, pipeline) = cache.entries.get_mut(source)?;
        *used = clock;
        Some(pipeline.clone())
    }

    fn keep(&self, source: String, pipeline: wgpu::ComputePipeline) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.entries.len() >= self.limit {
            let oldest = cache.entries.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(source) = oldest.map(|(source, _)| source.clone()) {
                cache.entries.remove(&source);
            }
        }
        cache.clock += 1;
        let clock = cache.clock;
        cache.entries.insert(source, (clock, pipeline));
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.entries.len()
    }
}

impl Link {
    /// The compiled kernel.
    pub(crate) fn pipeline(
        &self,
        op: &'static str,
        source: String,
    ) -> Result<wgpu::ComputePipeline, EvalError> {
        if let Some(pipeline) = self.pipelines.find(&source) {
            return Ok(pipeline);
        }
        let pipeline = self.guarded(op, || {
            let module = self
                .device
                .create_shader_module(wgpu::ShaderModuleDescriptor {
                    label: Some(op),
                    source: wgpu::ShaderSource::Wgsl(source.as_str().into()),
                });
            self.device
                .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(op),
                    layout: None,
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    cache: None,
                })
        });
        let pipeline = pipeline.inspect_err(|_| {
            tracing::error!(op, source, "a kernel does not compile");
        })?;
        self.pipelines.keep(source, pipeline.clone());
        Ok(pipeline)
    }
}
