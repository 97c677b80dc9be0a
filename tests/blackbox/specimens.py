"""The twelve specimens: identification data of people who do not exist."""

import functools
import json
from dataclasses import dataclass

from idvault.v1 import resources_pb2 as api

from server import REPOSITORY

FOLDER = REPOSITORY / "src/cli/demo/specimens"
CATEGORIES = {
    "face": api.CATEGORY_FACE_IMAGE,
    "front": api.CATEGORY_DOCUMENT_FRONT,
    "back": api.CATEGORY_DOCUMENT_BACK,
}
MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".pdf": "application/pdf"}
FIELDS = {
    api.CATEGORY_NAME: ("surname", "given_names", "native_name"),
    api.CATEGORY_ADDRESS: ("address",),
    api.CATEGORY_ID_NUMBER: ("id_number", "id_type", "expires"),
    api.CATEGORY_COUNTRY: ("country", "nationality"),
    api.CATEGORY_DATE_OF_BIRTH: ("date_of_birth",),
    api.CATEGORY_SEX: ("sex",),
    api.CATEGORY_MRZ: ("mrz",),
}


@dataclass(frozen=True)
class File:
    category: int
    media_type: str
    data: bytes


@dataclass(frozen=True)
class Specimen:
    subject_ref: str
    jurisdiction: str
    files: tuple[File, ...]
    attributes: api.Attributes

    def only(self, categories):
        """The files and the attributes that these categories release."""
        files = [file for file in self.files if file.category in categories]
        names = {name for category in categories for name in FIELDS.get(category, ())}
        attributes = api.Attributes()
        attributes.CopyFrom(self.attributes)
        for field, _ in self.attributes.ListFields():
            if field.name not in names:
                attributes.ClearField(field.name)
        return files, attributes


def _read(folder):
    description = json.loads((folder / "attributes.json").read_text())
    subject_ref, jurisdiction = description.pop("subject_ref"), description.pop("jurisdiction")
    files = []
    for name, category in CATEGORIES.items():
        (path,) = folder.glob(f"{name}.*")
        files.append(File(category, MEDIA_TYPES[path.suffix], path.read_bytes()))
    return Specimen(subject_ref, jurisdiction, tuple(files), api.Attributes(**description))


@functools.cache
def load():
    specimens = [_read(folder) for folder in sorted(FOLDER.iterdir()) if folder.is_dir()]
    assert len(specimens) == 12
    return specimens
