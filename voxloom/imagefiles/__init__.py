"""Images in local files: .h5, .npy and .tif, read item by item and written whole or item by item."""

from __future__ import annotations

from voxloom.imagefiles.datasets import Datasets as Datasets
from voxloom.imagefiles.datasets import choose_dataset as choose_dataset
from voxloom.imagefiles.datasets import image_datasets as image_datasets
from voxloom.imagefiles.datasets import meta_in as meta_in
from voxloom.imagefiles.datasets import open_hdf5 as open_hdf5
from voxloom.imagefiles.datasets import read_datasets as read_datasets
from voxloom.imagefiles.kinds import Array as Array
from voxloom.imagefiles.kinds import Kind as Kind
from voxloom.imagefiles.kinds import kind_of as kind_of
from voxloom.imagefiles.kinds import kind_of_file as kind_of_file
from voxloom.imagefiles.kinds import require_file as require_file
from voxloom.imagefiles.kinds import require_kind as require_kind
from voxloom.imagefiles.reading import Source as Source
from voxloom.imagefiles.reading import is_colour as is_colour
from voxloom.imagefiles.reading import meta_of as meta_of
from voxloom.imagefiles.reading import open_image as open_image
from voxloom.imagefiles.reading import read_image as read_image
from voxloom.imagefiles.reading import read_item as read_item
from voxloom.imagefiles.reading import refuse_axes as refuse_axes
from voxloom.imagefiles.writing import Target as Target
from voxloom.imagefiles.writing import array_of as array_of
from voxloom.imagefiles.writing import check_room as check_room
from voxloom.imagefiles.writing import put_dataset as put_dataset
from voxloom.imagefiles.writing import put_meta as put_meta
from voxloom.imagefiles.writing import replacing as replacing
from voxloom.imagefiles.writing import stack_writer as stack_writer
from voxloom.imagefiles.writing import write_datasets as write_datasets
from voxloom.imagefiles.writing import write_image as write_image
