"""``bench data add``: from archives, folders and addresses to a dataset below the data root.

``sources`` opens what the user names. ``recognise`` finds a dataset's folders and lists in it. ``place`` copies, links
or indexes them. To read another form of pictures, add a ``Source`` whose entries are pictures: see ``sources``.
"""
