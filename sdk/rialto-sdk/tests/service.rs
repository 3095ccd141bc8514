//! The macro on a module that uses every kind of type: it must compile, and the author's types must be
//! the generated ones.

/// A harbour.
#[rialto_sdk::service]
mod harbour {
    use std::fmt;

    use rialto_sdk::Stream;

    /// A boat.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Boat {
        /// Painted on its side.
        pub name: String,
        pub type_: Kind,
        pub length_m: Option<f64>,
        pub top_5: Vec<(u8, char)>,
    }

    /// How a boat moves.
    pub enum Kind {
        /// By wind.
        SailBoat,
        Motor,
    }

    /// Why a boat may not enter.
    pub enum Refusal {
        Full,
        TooLong(f64),
        Other(Boat),
    }

    /// Private types stay as they are.
    struct Berth<'a>(&'a str);

    impl fmt::Display for Berth<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    pub(crate) fn shout(name: &str) -> String {
        Berth(name).to_string().to_uppercase()
    }

    /// Lets a boat in.
    pub fn enter(
        /// The boat.
        mut boat: Boat,
        berths: u32,
    ) -> Result<Boat, Refusal> {
        match boat.length_m {
            _ if berths == 0 => Err(Refusal::Full),
            Some(length) if length > 12.0 => Err(Refusal::TooLong(length)),
            _ if boat.name.is_empty() => Err(Refusal::Other(boat)),
            _ => {
                boat.name = shout(&boat.name);
                Ok(boat)
            }
        }
    }

    pub fn close() {}

    pub fn count(bytes: Vec<u8>, type_: Kind) -> (u64, Kind) {
        (bytes.len() as u64, type_)
    }

    /// The boats of the harbour, one after the other.
    pub fn watch(names: Vec<String>) -> Result<Stream<Boat>, Refusal> {
        if names.is_empty() {
            return Err(Refusal::Full);
        }
        Ok(Stream::new(names.into_iter().map(|name| Boat {
            name,
            type_: Kind::Motor,
            length_m: None,
            top_5: Vec::new(),
        })))
    }

    /// Whole lengths, until one is no number.
    pub fn lengths(texts: Vec<String>) -> rialto_sdk::Stream<Result<u32, String>> {
        Stream::new(texts.into_iter().map(|text| text.parse().map_err(|_| text)))
    }

    pub fn check(enter: bool) -> Result<(), String> {
        if enter { Ok(()) } else { Err("no".to_owned()) }
    }
}

use harbour::{Boat, Kind, Refusal};

fn boat(name: &str, length: f64) -> Boat {
    Boat {
        name: name.to_owned(),
        type_: Kind::SailBoat,
        length_m: Some(length),
        top_5: vec![(1, 'a')],
    }
}

#[test]
fn the_authors_functions_work_on_the_generated_types() {
    let heron = harbour::enter(boat("Heron", 9.5), 1).unwrap();
    assert_eq!(heron, boat("HERON", 9.5));
    assert_eq!(harbour::enter(boat("a", 1.0), 0), Err(Refusal::Full));
    assert_eq!(
        harbour::enter(boat("a", 13.0), 1),
        Err(Refusal::TooLong(13.0))
    );
    assert_eq!(
        harbour::enter(boat("", 1.0), 1),
        Err(Refusal::Other(boat("", 1.0)))
    );
    harbour::close();
    assert_eq!(harbour::count(vec![1, 2], Kind::Motor), (2, Kind::Motor));
    assert_eq!(harbour::check(true), Ok(()));
    assert!(harbour::check(false).is_err());
}

#[test]
fn streams_are_iterators_of_their_items() {
    let boats = harbour::watch(vec!["a".to_owned(), "b".to_owned()]).unwrap();
    let names: Vec<String> = boats.map(|boat| boat.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(harbour::watch(Vec::new()).is_err());
    let texts = ["1", "x", "2"].map(str::to_owned).to_vec();
    let lengths: Vec<_> = harbour::lengths(texts).collect();
    assert_eq!(lengths, [Ok(1), Err("x".to_owned()), Ok(2)]);
}
