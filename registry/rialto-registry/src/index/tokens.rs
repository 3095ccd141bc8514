//! From text to words: where they begin and end, and what they are searched by.
//!
//! A word is searched by its stem, so that "faces" finds "face". The stemmer is a few rules for English;
//! words of other alphabets stay as they are. Characters of scripts without spaces are a word each.
//!
//! Non-goals: languages other than English, spelling, synonyms; meaning is the vectors'.

/// Calls `each` with every word of `text`, in lower case and without stop words, until it says no.
pub(super) fn words(text: &str, mut each: impl FnMut(&str) -> bool) {
    let mut word = String::new();
    let mut before = Kind::Gap;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let kind = Kind::of(c);
        if kind == Kind::Mark {
            continue;
        }
        let next = rest.peek().map_or(Kind::Gap, |c| Kind::of(*c));
        if parts(before, kind, next) && !finish(&mut word, &mut each) {
            return;
        }
        before = kind;
        if kind != Kind::Gap && word.len() < WORD_BYTES_MAX {
            word.extend(c.to_lowercase().map(without_accent));
        }
    }
    finish(&mut word, &mut each);
}

/// What a word is searched by: the word without its English endings.
pub(super) fn stem(word: &str) -> String {
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let mut stem = singular(word);
    // An ending may stand behind another: embed, embedd-ed, embedd-ing.
    for _ in 0..ENDINGS_MAX {
        match without_ending(&stem) {
            Some(shorter) => stem = shorter,
            None => break,
        }
    }
    undouble(&mut stem);
    if stem.len() >= 4 && stem.ends_with('e') {
        stem.pop();
    } else if stem.len() >= 3 && stem.ends_with('y') {
        stem.pop();
        stem.push('i');
    }
    stem
}

/// What a character does in a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gap,
    Mark,
    Upper,
    Lower,
    Digit,
    /// A word by itself: the scripts of Chinese and Japanese, which put no spaces.
    Whole,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            '\u{300}'..='\u{36f}' => Self::Mark,
            '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3134f}' => {
                Self::Whole
            }
            _ if c.is_numeric() => Self::Digit,
            _ if c.is_uppercase() => Self::Upper,
            _ if c.is_alphanumeric() => Self::Lower,
            _ => Self::Gap,
        }
    }
}

/// Whether a word ends between two characters; `next` is the one that follows both.
fn parts(before: Kind, kind: Kind, next: Kind) -> bool {
    match (before, kind) {
        (_, Kind::Gap | Kind::Whole)
        | (Kind::Whole, _)
        | (Kind::Lower, Kind::Upper)
        | (Kind::Digit, Kind::Upper | Kind::Lower)
        | (Kind::Upper | Kind::Lower, Kind::Digit) => true,
        // The last of several capitals begins the next word: HTTP, Server.
        (Kind::Upper, Kind::Upper) => next == Kind::Lower,
        (Kind::Gap | Kind::Mark | Kind::Upper | Kind::Lower | Kind::Digit, _) => false,
    }
}

fn finish(word: &mut String, each: &mut impl FnMut(&str) -> bool) -> bool {
    let more = word.is_empty() || STOP_WORDS.contains(&word.as_str()) || each(word);
    word.clear();
    more
}

/// People leave accents out when they search.
fn without_accent(c: char) -> char {
    match c {
        'à'..='å' => 'a',
        'ç' => 'c',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ñ' => 'n',
        'ò'..='ö' | 'ø' => 'o',
        'ù'..='ü' => 'u',
        'ý' | 'ÿ' => 'y',
        _ => c,
    }
}

fn singular(word: &str) -> String {
    let kept = ["ss", "us", "is"];
    if word.len() < 4 || !word.ends_with('s') || kept.iter().any(|end| word.ends_with(end)) {
        return word.to_owned();
    }
    if let Some(start) = word.strip_suffix("ies")
        && start.len() >= 2
    {
        return format!("{start}y");
    }
    let hissing = ["sses", "xes", "ches", "shes", "zes"];
    let ending = if hissing.iter().any(|end| word.ends_with(end)) {
        "es"
    } else {
        "s"
    };
    word.strip_suffix(ending).unwrap_or(word).to_owned()
}

/// The word without one ending, where enough of it is left to know it by.
fn without_ending(word: &str) -> Option<String> {
    for (ending, instead, left_min) in ENDINGS {
        let Some(start) = word.strip_suffix(ending) else {
            continue;
        };
        let has_vowel = start.bytes().any(|byte| b"aeiouy".contains(&byte));
        // "speed" and "action" are whole words but for what stands before the ending.
        let fits = match *ending {
            "ed" => !start.ends_with('e'),
            "ion" => start.ends_with(['s', 't']),
            _ => true,
        };
        if start.len() < *left_min || !has_vowel || !fits {
            return None;
        }
        let mut stem = format!("{start}{instead}");
        undouble(&mut stem);
        return Some(stem);
    }
    None
}

/// Of two equal consonants at the end one is enough: embedd-ing, embed.
fn undouble(word: &mut String) {
    let mut ends = word.bytes().rev();
    let (last, before) = (ends.next(), ends.next());
    let vowel = last.is_some_and(|byte| b"aeiou".contains(&byte));
    if last == before && !vowel && word.len() >= 3 {
        word.pop();
    }
}

/// An ending, what takes its place, and how many letters must be left. The first that fits decides.
const ENDINGS: &[(&str, &str, usize)] = &[
    ("fication", "fi", 2),
    ("ization", "iz", 3),
    ("isation", "is", 3),
    ("ing", "", 3),
    ("ed", "", 3),
    ("ion", "", 3),
    ("er", "", 4),
    ("or", "", 4),
];

const ENDINGS_MAX: usize = 3;

/// Longer words are cut, whatever follows.
const WORD_BYTES_MAX: usize = 40;

/// Words that say nothing about a service.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "its", "of",
    "on", "or", "that", "the", "this", "to", "which", "with", "you", "your",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        words(text, |word| {
            found.push(word.to_owned());
            true
        });
        found
    }

    #[test]
    fn words_are_parted() {
        let check = |text: &str, expected: &[&str]| assert_eq!(all(text), expected, "{text:?}");
        check("", &[]);
        check("find the Faces!", &["find", "faces"]);
        check("detect-face_now", &["detect", "face", "now"]);
        check("detectFaceIn", &["detect", "face"]);
        check("HTTPServer", &["http", "server"]);
        check("qwen3 gpt4o", &["qwen", "3", "gpt", "4", "o"]);
        check("café Übergröße", &["cafe", "ubergroße"]);
        check("cafe\u{301}s", &["cafes"]);
        check("顔を検出 API", &["顔", "を", "検", "出", "api"]);
        check("поиск лиц", &["поиск", "лиц"]);
        check(
            "rialto:embed/api@0.1",
            &["rialto", "embed", "api", "0", "1"],
        );
        check(&"x".repeat(90), &[&"x".repeat(40)]);
    }

    #[test]
    fn one_can_stop_early() {
        let mut seen = 0;
        words("one two three", |_| {
            seen += 1;
            seen < 2
        });
        assert_eq!(seen, 2);
    }

    #[test]
    fn forms_of_a_word_meet() {
        let check = |forms: &[&str]| {
            for form in forms {
                assert_eq!(stem(form), stem(forms[0]), "{form} and {}", forms[0]);
            }
        };
        check(&["face", "faces", "facing"]);
        check(&[
            "embed",
            "embeds",
            "embedding",
            "embeddings",
            "embedded",
            "embedder",
        ]);
        check(&[
            "detect",
            "detects",
            "detected",
            "detecting",
            "detection",
            "detector",
        ]);
        check(&["query", "queries"]);
        check(&["box", "boxes"]);
        check(&["class", "classes"]);
        check(&[
            "classify",
            "classified",
            "classifier",
            "classifiers",
            "classification",
        ]);
        check(&["translate", "translation", "translator", "translating"]);
        check(&["summarize", "summarization", "summarizing"]);
        check(&["moderate", "moderation", "moderator"]);
        check(&["image", "images", "imaging"]);
        check(&["search", "searches", "searching"]);
        check(&["run", "runs", "running"]);
    }

    #[test]
    fn other_words_stay_apart() {
        let check = |one: &str, other: &str| assert_ne!(stem(one), stem(other));
        check("face", "fact");
        check("speed", "spell");
        check("string", "strike");
        check("paper", "pap");
        check("bus", "bu");
        check("analysis", "analyst");
        assert_eq!(stem("größe"), "größe");
        assert_eq!(stem("лица"), "лица");
    }

    proptest! {
        #[test]
        fn any_text_has_short_lowercase_words(text in any::<String>()) {
            for word in all(&text) {
                prop_assert!(!word.is_empty() && word.len() <= WORD_BYTES_MAX + 12);
                prop_assert!(!stem(&word).is_empty());
                prop_assert!(!word.chars().any(char::is_whitespace));
            }
        }

        #[test]
        fn the_stem_of_a_plural_is_that_of_its_singular(word in "[b-df-hj-np-rt-v]{1,3}[aeo][kmnpt]") {
            prop_assert_eq!(stem(&format!("{word}s")), stem(&word));
        }
    }
}
