//! What kind of identification data a part or a field is: the unit in which people grant and jobs ask.

/// A category of identification data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// A picture of the face. Biometric, therefore sensitive.
    FaceImage = 1,
    /// A video that shows liveness. Biometric, therefore sensitive.
    LivenessVideo = 2,
    /// The front of an identity document.
    DocumentFront = 3,
    /// The back of an identity document.
    DocumentBack = 4,
    /// The portrait on an identity document. Biometric, therefore sensitive.
    DocumentPortrait = 5,
    /// The attributes part itself; never in a grant or a job.
    Attributes = 15,
    /// Field: names.
    Name = 16,
    /// Field: address.
    Address = 17,
    /// Field: number, kind and expiry of the document.
    IdNumber = 18,
    /// Field: issuing country and nationality.
    Country = 19,
    /// Field: date of birth.
    DateOfBirth = 20,
    /// Field: sex.
    Sex = 21,
    /// Field: machine-readable zone.
    Mrz = 22,
}

impl Category {
    /// All categories, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::FaceImage,
        Self::LivenessVideo,
        Self::DocumentFront,
        Self::DocumentBack,
        Self::DocumentPortrait,
        Self::Attributes,
        Self::Name,
        Self::Address,
        Self::IdNumber,
        Self::Country,
        Self::DateOfBirth,
        Self::Sex,
        Self::Mrz,
    ];

    /// Its number, on the wire and on disk.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::FaceImage => 1,
            Self::LivenessVideo => 2,
            Self::DocumentFront => 3,
            Self::DocumentBack => 4,
            Self::DocumentPortrait => 5,
            Self::Attributes => 15,
            Self::Name => 16,
            Self::Address => 17,
            Self::IdNumber => 18,
            Self::Country => 19,
            Self::DateOfBirth => 20,
            Self::Sex => 21,
            Self::Mrz => 22,
        }
    }

    /// The category with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.number() == number)
    }

    /// Its bare name, as in receipts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FaceImage => "FACE_IMAGE",
            Self::LivenessVideo => "LIVENESS_VIDEO",
            Self::DocumentFront => "DOCUMENT_FRONT",
            Self::DocumentBack => "DOCUMENT_BACK",
            Self::DocumentPortrait => "DOCUMENT_PORTRAIT",
            Self::Attributes => "ATTRIBUTES",
            Self::Name => "NAME",
            Self::Address => "ADDRESS",
            Self::IdNumber => "ID_NUMBER",
            Self::Country => "COUNTRY",
            Self::DateOfBirth => "DATE_OF_BIRTH",
            Self::Sex => "SEX",
            Self::Mrz => "MRZ",
        }
    }

    /// The category with this bare name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }

    /// Whether a person can grant it and a job can ask for it: every category but [`Category::Attributes`].
    #[must_use]
    pub const fn is_grantable(self) -> bool {
        !matches!(self, Self::Attributes)
    }

    /// Whether it is a field of the attributes part.
    #[must_use]
    pub const fn is_field(self) -> bool {
        self.number() > Self::Attributes.number()
    }

    /// Whether it is a file of its own: an image, a document side or a video.
    #[must_use]
    pub const fn is_file(self) -> bool {
        self.number() < Self::Attributes.number()
    }

    /// Whether it is biometric by nature and so needs explicit consent whatever the law of the place.
    #[must_use]
    pub const fn is_sensitive(self) -> bool {
        matches!(self, Self::FaceImage | Self::LivenessVideo | Self::DocumentPortrait)
    }
}

/// A set of categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CategorySet(u32);

impl CategorySet {
    /// Whether `category` is in the set.
    #[must_use]
    pub const fn contains(self, category: Category) -> bool {
        self.0 & (1 << category.number()) != 0
    }

    /// Adds `category`.
    pub const fn insert(&mut self, category: Category) {
        self.0 |= 1 << category.number();
    }

    /// The categories of both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The categories of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The categories of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its categories, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Category> {
        Category::ALL.into_iter().filter(move |category| self.contains(*category))
    }
}

impl FromIterator<Category> for CategorySet {
    fn from_iter<I: IntoIterator<Item = Category>>(categories: I) -> Self {
        let mut set = Self::default();
        for category in categories {
            set.insert(category);
        }
        set
    }
}
