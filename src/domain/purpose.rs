//! What data may be used for: a closed list, each with its name in the W3C Data Privacy Vocabulary.

/// A purpose of processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The check itself; never releasable, and keeps nothing alive. DPV `dpv:IdentityVerification`.
    VerifyIdentity = 1,
    /// Train face matching. DPV `dpv:ResearchAndDevelopment`.
    TrainFaceMatch = 2,
    /// Train liveness detection. DPV `dpv:ResearchAndDevelopment`.
    TrainLiveness = 3,
    /// Train text recognition on documents. DPV `dpv:ResearchAndDevelopment`.
    TrainDocumentOcr = 4,
    /// Train detection of forged documents. DPV `dpv:FraudPreventionAndDetection`.
    TrainDocumentFraud = 5,
    /// Measure how a model treats groups of people. DPV `dpv:ImproveExistingProductsAndServices`.
    EvaluateBias = 6,
    /// Review the quality of samples and labels. DPV `dpv:ServiceOptimisation`.
    ReviewQuality = 7,
}

impl Purpose {
    /// All purposes, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::VerifyIdentity,
        Self::TrainFaceMatch,
        Self::TrainLiveness,
        Self::TrainDocumentOcr,
        Self::TrainDocumentFraud,
        Self::EvaluateBias,
        Self::ReviewQuality,
    ];

    /// Its number, on the wire and on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::VerifyIdentity => 1,
            Self::TrainFaceMatch => 2,
            Self::TrainLiveness => 3,
            Self::TrainDocumentOcr => 4,
            Self::TrainDocumentFraud => 5,
            Self::EvaluateBias => 6,
            Self::ReviewQuality => 7,
        }
    }

    /// The purpose with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.number() == number)
    }

    /// Its bare name, as in receipts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VerifyIdentity => "VERIFY_IDENTITY",
            Self::TrainFaceMatch => "TRAIN_FACE_MATCH",
            Self::TrainLiveness => "TRAIN_LIVENESS",
            Self::TrainDocumentOcr => "TRAIN_DOCUMENT_OCR",
            Self::TrainDocumentFraud => "TRAIN_DOCUMENT_FRAUD",
            Self::EvaluateBias => "EVALUATE_BIAS",
            Self::ReviewQuality => "REVIEW_QUALITY",
        }
    }

    /// The purpose with this bare name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    /// Whether data may ever be released for it: every purpose but [`Purpose::VerifyIdentity`].
    #[must_use]
    pub const fn is_training(self) -> bool {
        !matches!(self, Self::VerifyIdentity)
    }
}

/// A set of purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurposeSet(u8);

impl PurposeSet {
    /// Whether `purpose` is in the set.
    #[must_use]
    pub const fn contains(self, purpose: Purpose) -> bool {
        self.0 & (1 << purpose.number()) != 0
    }

    /// Adds `purpose`.
    pub const fn insert(&mut self, purpose: Purpose) {
        self.0 |= 1 << purpose.number();
    }

    /// The purposes of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The purposes of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of its purposes is a training purpose.
    #[must_use]
    pub fn has_training(self) -> bool {
        self.iter().any(Purpose::is_training)
    }

    /// Its purposes, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Purpose> {
        Purpose::ALL.into_iter().filter(move |purpose| self.contains(*purpose))
    }
}

impl FromIterator<Purpose> for PurposeSet {
    fn from_iter<I: IntoIterator<Item = Purpose>>(purposes: I) -> Self {
        let mut set = Self::default();
        for purpose in purposes {
            set.insert(purpose);
        }
        set
    }
}
