//! What a device is asked to be, and why it cannot be.
//!
//! Non-goals: files and their keys, which are the node's.

use std::{fmt, time::Duration};

use crate::adapters::{AdapterInfo, AdapterKind};

/// What limits a device.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which adapter.
    pub adapter: Wanted,
    /// Bytes of all tensors on it and of work in progress.
    pub memory_bytes_max: u64,
    /// How long a run may take.
    pub run_time_max: Duration,
    /// Compiled kernels that are kept.
    pub pipelines_max: usize,
    /// Whether tests see no more of an adapter than what every one has.
    #[cfg(test)]
    pub(crate) least: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            adapter: Wanted::Hardware,
            memory_bytes_max: 4 << 30,
            run_time_max: Duration::from_secs(60),
            pipelines_max: 512,
            #[cfg(test)]
            least: false,
        }
    }
}

impl Config {
    /// The limits to open an adapter with, of those that it has.
    pub(crate) fn limits(&self, adapter: wgpu::Limits) -> wgpu::Limits {
        #[cfg(test)]
        if self.least {
            return wgpu::Limits {
                min_storage_buffer_offset_alignment: 256,
                ..wgpu::Limits::default()
            };
        }
        adapter
    }
}

/// Which adapter is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The best that is not software.
    Hardware,
    /// The best with this in its name, in any case of letters; software too.
    Named(String),
    /// This one.
    Exactly(AdapterInfo),
}

impl Wanted {
    pub(crate) fn fits(&self, info: &AdapterInfo) -> bool {
        match self {
            Self::Hardware => info.kind != AdapterKind::Software,
            Self::Named(part) => info.name.to_lowercase().contains(&part.to_lowercase()),
            Self::Exactly(known) => info == known,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hardware => f.write_str("no graphics processor in hardware is found"),
            Self::Named(part) => {
                write!(f, "no graphics processor whose name has `{part}` is found")
            }
            Self::Exactly(info) => write!(f, "{info} is not found any more"),
        }
    }
}

/// Why a device cannot be used. The operator acts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is none that fits.
    #[error("{wanted}; {}; {INSTALL}", listed(here))]
    NotFound {
        /// What was asked for.
        wanted: Wanted,
        /// What is here.
        here: Vec<AdapterInfo>,
    },
    /// Its driver refuses.
    #[error("{adapter} does not open: {reason}")]
    Refused {
        /// Which.
        adapter: String,
        /// Why.
        reason: String,
    },
    /// Its results are not the CPU's.
    #[error("{adapter} computes wrong results and is not used: {reason}")]
    Disagrees {
        /// Which.
        adapter: String,
        /// Where.
        reason: String,
    },
}

fn listed(here: &[AdapterInfo]) -> String {
    if here.is_empty() {
        return "no driver is installed".to_owned();
    }
    let names: Vec<String> = here.iter().map(ToString::to_string).collect();
    format!("here are: {}", names.join("; "))
}

/// What to install for a graphics processor to be found.
pub const INSTALL: &str = "install the card's Vulkan driver (on Debian and Ubuntu mesa-vulkan-drivers \
     and libvulkan1, which also compute on processor cores; for NVIDIA its own driver)";
