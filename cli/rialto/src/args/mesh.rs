//! The mesh's part of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use alloy_primitives::Address;
use clap::{Args, Subcommand};

use super::PayerArgs;
use crate::policy::Units;

/// What to publish.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// A folder with service.toml and component.wasm.
    pub(crate) folder: PathBuf,
    /// A word to be found by; may be repeated.
    #[arg(long = "tag", value_name = "WORD")]
    pub(crate) tags: Vec<String>,
    /// Where the component can be fetched besides from peers; may be repeated.
    #[arg(long = "source", value_name = "URL")]
    pub(crate) sources: Vec<String>,
    #[command(flatten)]
    pub(crate) payer: PayerArgs,
}

/// What to look for.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Words; without any, everything is listed.
    pub(crate) words: Vec<String>,
    /// An interface, such as `rialto:embed/api`, with or without its version.
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) interface: Option<String>,
    /// A tag.
    #[arg(long, value_name = "WORD")]
    pub(crate) tag: Option<String>,
    /// A method that it must have.
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// The most that a call may cost: base units (1000000 is one USDC) or `0.05 USDC`.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) max_price: Option<Units>,
    /// A region, or its beginning: `eu` finds `eu-west`.
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// A part of what hosts say they compute on.
    #[arg(long, value_name = "WORD")]
    pub(crate) hardware: Option<String>,
    /// Find by meaning as well: the service `embed` on the mesh reads words and descriptions, which costs a
    /// call of it.
    #[arg(long)]
    pub(crate) meaning: bool,
    /// How many to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which node is asked about the mesh.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoorArgs {
    /// The local door of a node that takes part in the mesh.
    #[arg(
        long,
        env = "RIALTO_LOCAL",
        default_value = "http://127.0.0.1:8405",
        value_name = "URL"
    )]
    pub(crate) local: String,
}

/// How a host takes part in the mesh.
#[derive(Debug, Args)]
pub(crate) struct MeshArgs {
    /// Take part in the mesh: find others and be found.
    #[arg(long = "mesh")]
    pub(crate) enabled: bool,
    /// Where peers reach this node, as a multiaddress such as /ip4/0.0.0.0/tcp/8406; may be repeated.
    #[arg(long, value_name = "MULTIADDR", requires = "enabled")]
    pub(crate) mesh_listen: Vec<String>,
    /// A peer to ask first, as a multiaddress with /p2p/PEER; may be repeated.
    #[arg(long, value_name = "MULTIADDR", requires = "enabled")]
    pub(crate) bootstrap: Vec<String>,
    /// Where this host is: a lowercase word such as eu-west.
    #[arg(long, value_name = "REGION", requires = "enabled")]
    pub(crate) region: Option<String>,
    /// Where the door for this machine's own programs listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8405")]
    pub(crate) local: SocketAddr,
}

/// A call of whoever is best.
#[derive(Debug, Args)]
pub(crate) struct MeshCallArgs {
    /// Call whoever on the mesh is best, and another where one fails.
    #[arg(long = "mesh", conflicts_with_all = ["times", "parallel"])]
    pub(crate) enabled: bool,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
    /// With --mesh: carrying the call out twice does no harm, so it may go elsewhere when a provider goes silent.
    #[arg(long, requires = "enabled")]
    pub(crate) idempotent: bool,
    /// With --idempotent: ask a second provider while the first is late, if a call costs at most this; both may
    /// charge.
    #[arg(long, value_name = "AMOUNT", requires = "idempotent")]
    pub(crate) hedge: Option<Units>,
    /// With --mesh: the one region that will do.
    #[arg(long, value_name = "REGION", requires = "enabled")]
    pub(crate) region: Option<String>,
}

/// What is done with a name that somebody published under.
#[derive(Debug, Subcommand)]
pub(crate) enum NameCommand {
    /// Show what the chain says of a name.
    Show {
        /// The name.
        name: String,
        /// Print JSON for scripts.
        #[arg(long)]
        json: bool,
        /// The running node's data folder.
        #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Say that there is something better; it can still be called.
    Deprecate {
        /// The name.
        name: String,
        /// Why, or what to use instead.
        why: String,
        #[command(flatten)]
        payer: PayerArgs,
    },
    /// Say that nobody should run or call it any more.
    Revoke {
        /// The name.
        name: String,
        /// Why.
        why: String,
        #[command(flatten)]
        payer: PayerArgs,
    },
    /// Take back what was deprecated or revoked.
    Restore {
        /// The name.
        name: String,
        #[command(flatten)]
        payer: PayerArgs,
    },
    /// Give the name and its agent to another account. It is not yours any more then.
    Transfer {
        /// The name.
        name: String,
        /// Whose it is to be.
        to: Address,
        /// The name once more, instead of typing it when asked.
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
        #[command(flatten)]
        payer: PayerArgs,
    },
}
