"""Published datasets in folders: class splits, file lists, folder layouts, and image counts.

``tree_dataset`` finds a dataset's folder by its ``layouts``, and reads a split of ``class_splits`` by ``roles``: from
published ``file_lists`` if they exist, else from class folders.
"""
