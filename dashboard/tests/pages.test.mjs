// All pages over one running system. The files are imported in this order, because some tests change what others list.
import './pages/every.mjs';
import './pages/lists.mjs';
import './pages/dialogs.mjs';
import './pages/objects.mjs';
import './pages/state.mjs';
import './pages/parts.mjs';
import './pages/live.mjs';
import './pages/served.mjs';
