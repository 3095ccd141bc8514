//! A portion of kernels and copies as one submission.
//!
//! Non-goals: how large a portion is, and waiting for it (`stream`).

use crate::{kernel::PARAMS_MAX, link::Link, pool::Part};

/// What the device does in order.
pub(crate) enum Item {
    /// Runs a kernel.
    Kernel {
        pipeline: wgpu::ComputePipeline,
        bindings: Vec<Part>,
        params_at: u64,
        groups: [u32; 3],
    },
    /// Copies bytes from one buffer to another.
    Copy { from: Part, to: Part, bytes: u64 },
}

/// Hands over items; `numbers` are those of all kernels.
pub(crate) fn submit(link: &Link, items: &[Item], numbers: &Part) -> wgpu::SubmissionIndex {
    let mut encoder = link
        .device
        .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut rest = items;
    while let Some(first) = rest.first() {
        if let Item::Copy { from, to, bytes } = first {
            if let (Some(source), Some(target)) = (from.memory.buffer(), to.memory.buffer()) {
                encoder.copy_buffer_to_buffer(source, from.offset, target, to.offset, *bytes);
            }
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        while let Some((
            Item::Kernel {
                pipeline,
                bindings,
                params_at,
                groups: [x, y, z],
            },
            more,
        )) = rest.split_first()
        {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(
                0,
                &bind(link, pipeline, bindings, (numbers, *params_at)),
                &[],
            );
            pass.dispatch_workgroups(*x, *y, *z);
            rest = more;
        }
    }
    link.queue.submit([encoder.finish()])
}

fn bind(
    link: &Link,
    pipeline: &wgpu::ComputePipeline,
    bindings: &[Part],
    (numbers, at): (&Part, u64),
) -> wgpu::BindGroup {
    let size = wgpu::BufferSize::new(u64::try_from(PARAMS_MAX * 4).unwrap_or(u64::MAX));
    let places = std::iter::once((numbers, at, size))
        .chain(bindings.iter().map(|part| (part, part.offset, None)));
    let entries: Vec<wgpu::BindGroupEntry<'_>> = (0_u32..)
        .zip(places)
        .filter_map(|(binding, (part, offset, size))| {
            let buffer = part.memory.buffer()?;
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size,
            });
            Some(wgpu::BindGroupEntry { binding, resource })
        })
        .collect();
    link.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    })
}
