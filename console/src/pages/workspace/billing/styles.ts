// The styles of the components that the pages of billing use besides; see ../../../styles.
import "@mantine/core/styles/FloatingIndicator.css";
import "@mantine/core/styles/InlineInput.css";
import "@mantine/core/styles/List.css";
import "@mantine/core/styles/Combobox.css";
import "@mantine/core/styles/NumberInput.css";
import "@mantine/core/styles/Progress.css";
import "@mantine/core/styles/Radio.css";
import "@mantine/core/styles/SegmentedControl.css";
import "@mantine/core/styles/Table.css";
