"""Pictures with all that a camera says besides, made and read by Pillow."""

import functools
import io
import random

from PIL import ExifTags, Image, PngImagePlugin

LATITUDE, LONGITUDE = (1.0, 21.0, 7.56), (103.0, 49.0, 12.34)
CAMERA, COMMENT, OWNER = "Spyglass 3000", "taken in the back office", "Mallory Example"
ROTATED = 6
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><owner>{OWNER}</owner></x:xmpmeta>'.encode()
MP4_START = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42"
TRACES = (CAMERA.encode(), COMMENT.encode(), OWNER.encode(), b"xmpmeta", b"WGS-84")


def exif():
    """A position, a camera, its owner, and how the picture is turned."""
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = CAMERA
    tags[ExifTags.Base.Artist] = OWNER
    tags[ExifTags.Base.Orientation] = ROTATED
    tags[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: LATITUDE,
        ExifTags.GPS.GPSLongitudeRef: "E",
        ExifTags.GPS.GPSLongitude: LONGITUDE,
        ExifTags.GPS.GPSMapDatum: "GPS WGS-84",
    }
    return tags


def _picture(mode, side=64):
    """Soft colours, as many as a photograph has."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    noise = random.Random(side).randbytes(side * side * bands // 64)
    return Image.frombytes(mode, (side // 8, side // 8), noise).resize((side, side), Image.Resampling.BICUBIC)


def _saved(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def plain_jpeg():
    return _saved(_picture("RGB"), "JPEG")


@functools.cache
def large_jpeg():
    """A JPEG of nearly 10 MiB, with a comment of 60,000 bytes."""
    side = 1_580
    noise = Image.frombytes("RGB", (side, side), random.Random(10).randbytes(3 * side * side))
    data = _saved(noise, "JPEG", quality=100, subsampling=0, comment=b"where and when " * 4_000)
    assert 9.75 < len(data) / (1 << 20) < 10
    return data


def tagged_jpeg(mode="RGB", **options):
    return _saved(_picture(mode), "JPEG", exif=exif(), xmp=XMP, comment=COMMENT, **options)


def tagged_png(mode="RGBA", convert=None):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", COMMENT)
    texts.add_itxt("Author", OWNER)
    picture = _picture(mode)
    return _saved(picture.convert(convert) if convert else picture, "PNG", exif=exif(), pnginfo=texts)


def tagged_webp(mode="RGB", **options):
    return _saved(_picture(mode), "WEBP", exif=exif(), xmp=XMP, **options)


def _opened(data):
    return Image.open(io.BytesIO(data))


def pixels(data):
    picture = _opened(data)
    return picture.mode, picture.size, picture.tobytes()


def orientation(data):
    return _opened(data).getexif().get(ExifTags.Base.Orientation)


def position(data):
    return dict(_opened(data).getexif().get_ifd(ExifTags.IFD.GPSInfo))
