//! Bytes between main memory and the device.
//!
//! Non-goals: what they mean.

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use rialto_compute::ops::EvalError;

use crate::{
    link::{Link, failed},
    pool::Part,
};

/// Buffers that the processor can read, kept for the next download.
#[derive(Debug, Default)]
pub(crate) struct Landings(Mutex<Vec<wgpu::Buffer>>);

impl Link {
    /// Fills a buffer's part. The device does so before anything that is handed over later.
    pub(crate) fn fill(
        &self,
        op: &'static str,
        part: &Part,
        bytes: &[u8],
    ) -> Result<(), EvalError> {
        let Some(buffer) = part.memory.buffer() else {
            return Ok(());
        };
        let mut at = part.offset;
        for chunk in bytes.chunks(CHUNK) {
            let (words, rest) = chunk.split_at(chunk.len() / 4 * 4);
            self.guarded(op, || {
                if !words.is_empty() {
                    self.queue.write_buffer(buffer, at, words);
                }
                if !rest.is_empty() {
                    let mut last = [0; 4];
                    for (into, byte) in last.iter_mut().zip(rest) {
                        *into = *byte;
                    }
                    let end = at + u64::try_from(words.len()).unwrap_or(0);
                    self.queue.write_buffer(buffer, end, &last);
                }
            })?;
            at += u64::try_from(chunk.len()).unwrap_or(0);
            self.bound_staging(op, chunk.len())?;
        }
        Ok(())
    }

    /// Bytes that were given wait in the driver's memory until something is submitted, and are let go when
    /// that is done and somebody looks: so they are, now and then, even if nothing runs.
    fn bound_staging(&self, op: &'static str, bytes: usize) -> Result<(), EvalError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.staged.fetch_add(bytes, Ordering::Relaxed);
        let staged = before.saturating_add(bytes);
        if staged <= STAGED_MAX {
            return Ok(());
        }
        let submission = self.guarded(op, || self.queue.submit([]))?;
        self.wait(op, submission, Instant::now() + STAGED_TIME_MAX)
    }

    /// Reads from a buffer's part.
    pub(crate) fn read(
        &self,
        op: &'static str,
        part: &Part,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, EvalError> {
        let mut data = Vec::with_capacity(bytes);
        while data.len() < bytes {
            let count = (bytes - data.len()).min(CHUNK);
            let at = part.offset + u64::try_from(data.len()).unwrap_or(0);
            self.read_chunk(op, (part, at), count, deadline, &mut data)?;
        }
        Ok(data)
    }

    fn read_chunk(
        &self,
        op: &'static str,
        (part, at): (&Part, u64),
        count: usize,
        deadline: Instant,
        data: &mut Vec<u8>,
    ) -> Result<(), EvalError> {
        let Some(buffer) = part.memory.buffer() else {
            return Ok(());
        };
        let landing = self.landing(op, count)?;
        let length = u64::try_from(count).unwrap_or(0).next_multiple_of(4);
        let (done, ready) = mpsc::sync_channel(1);
        let submission = self.guarded(op, || {
            let mut encoder = self
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(buffer, at, &landing, 0, length);
            let submission = self.queue.submit([encoder.finish()]);
            landing.map_async(wgpu::MapMode::Read, 0..length, move |result| {
                let _ = done.try_send(result);
            });
            submission
        })?;
        self.wait(op, submission, deadline)?;
        // Whoever waits, on any thread, runs the callbacks of finished work: it may be another's turn to.
        let left = deadline.saturating_duration_since(Instant::now());
        match ready.recv_timeout(left.max(CALLBACK_TIME_MAX)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(op, error.to_string())),
            Err(error) => return Err(failed(op, format!("the download is not done: {error}"))),
        }
        {
            let mapped = landing.get_mapped_range(0..length);
            let mapped = mapped.map_err(|error| failed(op, error.to_string()))?;
            let read = mapped.get(..count);
            let read = read.ok_or_else(|| failed(op, "the download is too short".to_owned()))?;
            data.extend_from_slice(read);
        }
        landing.unmap();
        self.keep(landing);
        Ok(())
    }

    fn landing(&self, op: &'static str, bytes: usize) -> Result<wgpu::Buffer, EvalError> {
        let sizes = [SMALL, CHUNK].map(|size| u64::try_from(size).unwrap_or(u64::MAX));
        let needed = u64::try_from(bytes).unwrap_or(u64::MAX);
        let size = sizes
            .into_iter()
            .find(|size| *size >= needed)
            .unwrap_or(needed);
        let mut kept = self
            .landings
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|buffer| buffer.size() == size) {
            return Ok(kept.swap_remove(at));
        }
        drop(kept);
        self.guarded(op, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            })
        })
    }

    fn keep(&self, landing: wgpu::Buffer) {
        let mut kept = self
            .landings
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if kept.len() < LANDINGS_MAX {
            kept.push(landing);
        }
    }
}

/// Bytes that move at a time.
const CHUNK: usize = 16 << 20;
/// Bytes of the smaller kind of landing.
const SMALL: usize = 64 << 10;
/// Bytes on their way to the device before somebody waits for it.
const STAGED_MAX: u64 = 64 << 20;
/// How long that may take: the work before it is bounded.
const STAGED_TIME_MAX: Duration = Duration::from_secs(60);
/// Landings that are kept.
const LANDINGS_MAX: usize = 4;
/// How long a callback of finished work may take to be run, at least.
const CALLBACK_TIME_MAX: Duration = Duration::from_secs(1);
